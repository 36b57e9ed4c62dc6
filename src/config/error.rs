//! What can be wrong with a config.

use std::borrow::Cow;
use std::path::PathBuf;

/// Why a config could not be read or used.
///
/// `origin` is where the mistake is: the file, or the `--set` that made it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("there is no config file {}, and no built-in config of that name (there are: {known})", .path.display())]
    NotFound { path: PathBuf, known: String },
    #[error("cannot read the config file {}: {source}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{origin} is not valid TOML: {message}")]
    Syntax { origin: String, message: String },
    #[error("{origin}: there is no key `{key}`; did you mean `{nearest}`?")]
    UnknownKey { origin: String, key: String, nearest: String },
    #[error("{origin}: `{key}` is {found}, expected {expected}")]
    WrongType { origin: String, key: String, found: String, expected: String },
    #[error("{origin}: {problem}")]
    Value { origin: String, problem: BadValue },
    #[error("cannot understand --set {text}: expected section.key=value, as in --set train.epochs=5")]
    Override { text: String },
    #[error("cannot write the config as TOML: {message}")]
    Write { message: String },
    /// A field of the schema has a type that TOML files cannot hold; a mistake in the program.
    #[error("the config schema cannot be read: {message}")]
    Schema { message: String },
}

/// A value of the right type that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is {found}, expected {expected}")]
pub struct BadValue {
    /// Section and key, such as `train.epochs`.
    pub key: Cow<'static, str>,
    pub found: String,
    pub expected: String,
}
