//! What a TOML file may say (`schema`), and how it is read, overridden and checked.

pub mod schema;

pub use schema::Config;
