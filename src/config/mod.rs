//! What a TOML file may say (`schema`), and how it is read, overridden and checked.

pub mod builtin;
mod difference;
mod error;
mod keys;
mod load;
pub mod schema;
pub mod suggest;
pub(crate) mod validate;

pub use error::{BadValue, ConfigError};
pub use schema::Config;
