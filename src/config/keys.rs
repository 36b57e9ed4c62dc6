//! The keys a config may hold and the type of each.
//!
//! They are read off the `Deserialize` implementation of the schema, by giving
//! it a deserializer that writes down what it is asked for. So there is no
//! second list of keys that could differ from the schema, and optional keys,
//! which a serialised default does not show, are known as well.

use super::schema::Lambda;
use super::{Config, ConfigError};
use crate::tasks;
use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use toml::Value;

/// The type of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Whole,
    Number,
    Flag,
    Text,
    OneOf(&'static [&'static str]),
    Texts,
    Numbers,
    /// A number, or "search".
    Lambda,
}

impl Kind {
    /// Whether `value` has this type. Whole numbers also count as numbers.
    pub fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Kind::Whole, Value::Integer(number)) => *number >= 0,
            (Kind::Number, Value::Integer(_) | Value::Float(_)) => true,
            (Kind::Flag, Value::Boolean(_)) | (Kind::Text, Value::String(_)) => true,
            (Kind::OneOf(names), Value::String(name)) => names.contains(&name.as_str()),
            (Kind::Texts, Value::Array(items)) => items.iter().all(|item| Kind::Text.accepts(item)),
            (Kind::Numbers, Value::Array(items)) => items.iter().all(|item| Kind::Number.accepts(item)),
            (Kind::Lambda, Value::String(name)) => name == Lambda::SEARCH,
            (Kind::Lambda, number) => Kind::Number.accepts(number),
            _ => false,
        }
    }

    /// The type in words, for error messages.
    pub fn describe(self) -> String {
        match self {
            Kind::Whole => "a whole number, 0 or more".into(),
            Kind::Number => "a number".into(),
            Kind::Flag => "true or false".into(),
            Kind::Text => "text in quotes".into(),
            Kind::Texts => "a list of texts in quotes, such as [\"a\", \"b\"]".into(),
            Kind::Numbers => "a list of numbers, such as [0.1, 0.3]".into(),
            Kind::Lambda => format!("a number, or \"{}\"", Lambda::SEARCH),
            Kind::OneOf(names) => {
                let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
                format!("one of {}", quoted.join(", "))
            }
        }
    }
}

/// A key of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub section: &'static str,
    pub name: &'static str,
    pub kind: Kind,
    /// Whether the key may be left unset.
    pub optional: bool,
}

impl Key {
    /// Section and name, such as `train.epochs`.
    pub fn full(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }
}

/// Every key of the schema, in its order.
pub fn known() -> Result<Vec<Key>, ConfigError> {
    trace::<Config>().map_err(|error| ConfigError::Schema { message: error.to_string() })
}

/// The known key most like `key`: the same name in another section if there is
/// one, else the most similar spelling.
pub fn nearest(key: &str, known: &[Key]) -> String {
    let name = key.rsplit('.').next().unwrap_or(key);
    let likeness = |candidate: &Key| {
        let bonus = if candidate.name == name { 1.0 } else { 0.0 };
        let whole = strsim::normalized_damerau_levenshtein(key, &candidate.full());
        let tail = strsim::normalized_damerau_levenshtein(name, candidate.name);
        bonus + whole.max(0.9 * tail)
    };
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    best.map(Key::full).unwrap_or_default()
}

fn trace<'de, T: Deserialize<'de>>() -> Result<Vec<Key>, Error> {
    let mut keys = Vec::new();
    T::deserialize(Tracer { path: &[], optional: false, keys: &mut keys })?;
    Ok(keys)
}

/// Answers each request with some value of the type asked for, and notes the request.
struct Tracer<'a> {
    path: &'a [&'static str],
    optional: bool,
    keys: &'a mut Vec<Key>,
}

impl Tracer<'_> {
    fn note(&mut self, kind: Kind) -> Result<(), Error> {
        let &[section, name] = self.path else {
            return Err(Error::custom(format!("`{}` is not a key in a section", self.path.join("."))));
        };
        self.keys.push(Key { section, name, kind, optional: self.optional });
        Ok(())
    }
}

macro_rules! leaf {
    ($($method:ident => $kind:expr, $visit:ident($value:expr);)*) => {
        $(fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
            self.note($kind)?;
            visitor.$visit($value)
        })*
    };
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = Error;

    leaf! {
        deserialize_bool => Kind::Flag, visit_bool(false);
        deserialize_u8 => Kind::Whole, visit_u8(1);
        deserialize_u16 => Kind::Whole, visit_u16(1);
        deserialize_u32 => Kind::Whole, visit_u32(1);
        deserialize_u64 => Kind::Whole, visit_u64(1);
        deserialize_f32 => Kind::Number, visit_f32(1.0);
        deserialize_f64 => Kind::Number, visit_f64(1.0);
        deserialize_str => Kind::Text, visit_str("");
        deserialize_string => Kind::Text, visit_str("");
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(Tracer { optional: true, ..self })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.note(Kind::OneOf(variants))?;
        let first = variants.first().copied().unwrap_or_default();
        let value: StrDeserializer<'_, Error> = first.into_deserializer();
        visitor.visit_enum(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let fields = Vec::from(fields).into_iter();
        visitor.visit_map(Fields { fields, path: self.path.to_vec(), keys: self.keys })
    }

    /// The one map of the schema holds something for each task.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let fields = tasks::all().into_iter().map(|task| task.name()).collect::<Vec<_>>().into_iter();
        visitor.visit_map(Fields { fields, path: self.path.to_vec(), keys: self.keys })
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let mut items = Vec::new();
        let value = visitor.visit_seq(One { path: self.path, keys: &mut items, done: false })?;
        match items.first().map(|key| key.kind) {
            Some(Kind::Text) => self.note(Kind::Texts)?,
            Some(Kind::Number) => self.note(Kind::Numbers)?,
            _ => return Err(Error::custom(format!("`{}` is a list of another type", self.path.join(".")))),
        }
        Ok(value)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name != Lambda::TYPE {
            return self.deserialize_any(visitor);
        }
        self.note(Kind::Lambda)?;
        visitor.visit_f64(0.0)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom(format!("`{}` has a type that is not supported", self.path.join("."))))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 char bytes byte_buf unit unit_struct
        tuple tuple_struct identifier ignored_any
    }
}

/// Hands out one item of a list.
struct One<'a> {
    path: &'a [&'static str],
    keys: &'a mut Vec<Key>,
    done: bool,
}

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        if std::mem::replace(&mut self.done, true) {
            return Ok(None);
        }
        seed.deserialize(Tracer { path: self.path, optional: false, keys: self.keys }).map(Some)
    }
}

/// Hands out every field of a struct, in order.
struct Fields<'a> {
    fields: std::vec::IntoIter<&'static str>,
    path: Vec<&'static str>,
    keys: &'a mut Vec<Key>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(field) = self.fields.next() else { return Ok(None) };
        self.path.push(field);
        let name: StrDeserializer<'_, Error> = field.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let value = seed.deserialize(Tracer { path: &self.path, optional: false, keys: self.keys });
        self.path.pop();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_of_the_schema_is_known() {
        let mut full = Config::default();
        full.data.split_file = Some("split.csv".into());
        full.data.fold = Some(0);
        full.data.mask_threshold = Some(0.5);
        full.train.steps_per_epoch = Some(1);
        full.train.labelled = Some(1);
        full.train.positive_fraction = Some(0.5);
        full.method.task_batch_size = Some(1);
        full.pretrain.steps = Some(1);
        full.pretrain.finetune_learning_rate = Some(0.1);
        full.distillation.base_channels = Some(8);
        full.lambda = tasks::all().iter().map(|task| (task.name().to_owned(), Lambda::Search)).collect();
        let table = toml::Table::try_from(&full).unwrap();
        let written: BTreeSet<_> = table
            .iter()
            .flat_map(|(section, keys)| {
                let keys = keys.as_table().unwrap().keys();
                keys.map(move |key| format!("{section}.{key}"))
            })
            .collect();
        let known: BTreeSet<_> = known().unwrap().iter().map(Key::full).collect();
        assert_eq!(written, known);
    }

    #[test]
    fn types_are_read_off_the_schema() {
        let keys = known().unwrap();
        let find = |full: &str| keys.iter().find(|key| key.full() == full).unwrap();
        assert_eq!(find("train.epochs").kind, Kind::Whole);
        assert_eq!(find("train.learning_rate").kind, Kind::Number);
        assert_eq!(find("data.split_file").kind, Kind::Text);
        assert!(find("data.split_file").optional && !find("data.size").optional);
        assert_eq!(find("method.tasks").kind, Kind::Texts);
        assert_eq!(find("method.lambda_candidates").kind, Kind::Numbers);
        assert_eq!(find("train.optimizer").kind, Kind::OneOf(&["adamw", "sgd"]));
    }

    #[test]
    fn nearest_corrects_spelling_and_section() {
        let keys = known().unwrap();
        assert_eq!(nearest("train.lerning_rate", &keys), "train.learning_rate");
        assert_eq!(nearest("model.batch_size", &keys), "train.batch_size");
        assert_eq!(nearest("epochs", &keys), "train.epochs");
        assert_eq!(nearest("trian.epochs", &keys), "train.epochs");
    }

    #[test]
    fn an_unsupported_type_is_an_error() {
        #[derive(Deserialize)]
        struct Flat {
            #[serde(rename = "a")]
            _a: u8,
        }
        assert!(trace::<Flat>().unwrap_err().to_string().contains("`a`"));
    }
}
