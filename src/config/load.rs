//! Reading a config: file, then `--set` overrides, then checks.

use super::keys::{self, Key, Kind};
use super::{Config, ConfigError, builtin};
use serde::Deserialize;
use std::path::Path;
use toml::{Table, Value};

impl Config {
    /// Reads a config file or a built-in config, applies overrides and checks the result.
    ///
    /// When `path` is no file on disk it may name a built-in config: `lungs`,
    /// `lungs.toml` and `configs/lungs.toml` are the same. Each override is
    /// `section.key=value`; the value is TOML, or else taken as bare text, and
    /// `none` unsets an optional key. Later overrides win.
    ///
    /// # Errors
    /// A file that is missing, cannot be read or is not TOML; a key that does
    /// not exist; a value of the wrong type; a value that cannot work. Each
    /// names the file or override and the key.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Config, ConfigError> {
        // Pipes and other special files are read too; a folder that happens to
        // have the name of a built-in config does not hide it.
        let on_disk = std::fs::metadata(path).is_ok_and(|found| !found.is_dir());
        if !on_disk && let Some(text) = builtin::find(path) {
            return Config::parse(text, &format!("built-in config {}", path.display()), overrides);
        }
        match std::fs::read_to_string(path) {
            Ok(text) => Config::parse(&text, &path.display().to_string(), overrides),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(ConfigError::NotFound { path: path.into(), known: builtin::names().join(", ") })
            }
            Err(source) => Err(ConfigError::Read { path: path.into(), source }),
        }
    }

    /// As [`Config::load`], from TOML text. `origin` names the text in errors.
    ///
    /// # Errors
    /// As [`Config::load`], except those about the file.
    pub fn parse(text: &str, origin: &str, overrides: &[String]) -> Result<Config, ConfigError> {
        let syntax = |error: toml::de::Error| ConfigError::Syntax {
            origin: origin.into(),
            message: error.to_string().trim_end().into(),
        };
        let known = keys::known()?;
        let mut table: Table = text.parse().map_err(syntax)?;
        check_table(&table, origin, &known)?;
        let mut set = Vec::new();
        for text in overrides {
            let key = apply_override(&mut table, text, &known)?;
            set.push((key, text));
        }
        let config = Config::deserialize(table).map_err(syntax)?;
        config.validate().map_err(|problem| {
            let by_override = set.iter().rev().find(|(key, _)| *key == *problem.key);
            let origin = by_override.map_or_else(|| origin.to_string(), |(_, text)| format!("--set {text}"));
            ConfigError::Value { origin, problem }
        })?;
        Ok(config)
    }

    /// The whole config as TOML. Reading it back gives an equal config.
    ///
    /// # Errors
    /// A path that is not UTF-8 or a seed above `i64::MAX`; neither can come from a file.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(|error| ConfigError::Write { message: error.to_string() })
    }
}

fn check_table(table: &Table, origin: &str, known: &[Key]) -> Result<(), ConfigError> {
    for (section, content) in table {
        if !known.iter().any(|key| key.section == section) {
            // Name a wrong key inside the section if there is one: that shows what the section should be.
            let inner = content.as_table().and_then(|keys| keys.keys().next());
            let key = inner.map_or_else(|| section.clone(), |inner| format!("{section}.{inner}"));
            return Err(unknown(origin, key, known));
        }
        let Value::Table(content) = content else {
            return Err(ConfigError::WrongType {
                origin: origin.into(),
                key: section.clone(),
                found: describe(content),
                expected: format!("a section, [{section}]"),
            });
        };
        for (name, value) in content {
            let Some(key) = known.iter().find(|key| key.section == section && key.name == name) else {
                return Err(unknown(origin, format!("{section}.{name}"), known));
            };
            check_type(key, value, origin)?;
        }
    }
    Ok(())
}

/// Puts one `section.key=value` into the table and returns the key.
fn apply_override(table: &mut Table, text: &str, known: &[Key]) -> Result<String, ConfigError> {
    let malformed = || ConfigError::Override { text: text.into() };
    let (full, value) = text.split_once('=').ok_or_else(malformed)?;
    let (full, value) = (full.trim(), value.trim());
    if full.is_empty() || value.is_empty() {
        return Err(malformed());
    }
    let origin = format!("--set {text}");
    let Some(key) = known.iter().find(|key| key.full() == full) else {
        return Err(unknown(&origin, full.into(), known));
    };
    let section = table.entry(key.section).or_insert_with(|| Value::Table(Table::new()));
    // `check_table` has seen every section that the file holds.
    let Value::Table(section) = section else { return Err(malformed()) };
    if key.optional && value == "none" {
        section.remove(key.name);
    } else {
        let value = override_value(value, key.kind);
        check_type(key, &value, &origin)?;
        section.insert(key.name.into(), value);
    }
    Ok(full.into())
}

/// The value as TOML, or as bare text when it is not TOML or only text will do.
fn override_value(text: &str, kind: Kind) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok();
    // More than one key means that the text held a line break and was no single value.
    let parsed = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    match parsed {
        Some(value) if kind != Kind::Text || value.is_str() => value,
        _ => Value::String(text.into()),
    }
}

fn check_type(key: &Key, value: &Value, origin: &str) -> Result<(), ConfigError> {
    if key.kind.accepts(value) {
        return Ok(());
    }
    Err(ConfigError::WrongType {
        origin: origin.into(),
        key: key.full(),
        found: describe(value),
        expected: key.kind.describe(),
    })
}

fn unknown(origin: &str, key: String, known: &[Key]) -> ConfigError {
    let nearest = keys::nearest(&key, known);
    ConfigError::UnknownKey { origin: origin.into(), key, nearest }
}

fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the text \"{text}\""),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number:?}"),
        Value::Boolean(flag) => format!("{flag}"),
        Value::Datetime(date) => format!("the date {date}"),
        Value::Array(_) => "a list".into(),
        Value::Table(_) => "a table".into(),
    }
}
