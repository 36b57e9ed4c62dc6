//! Where two configs differ.

use super::Config;

impl Config {
    /// The first key whose value is another in `other`, with both values as TOML; empty texts
    /// when the configs are equal.
    pub fn first_difference(&self, other: &Config) -> (String, String, String) {
        let (ours, theirs) = (self.to_table(), other.to_table());
        let sections = ours.keys().chain(theirs.keys());
        for section in sections {
            let keys = |table: &toml::Table| -> Vec<String> {
                let content = table.get(section).and_then(|s| s.as_table());
                content.map(|c| c.keys().cloned().collect()).unwrap_or_default()
            };
            for key in keys(&ours).into_iter().chain(keys(&theirs)) {
                let value = |table: &toml::Table| {
                    let found = table.get(section).and_then(|s| s.get(&key));
                    found.map_or("unset".to_owned(), |v| v.to_string())
                };
                if value(&ours) != value(&theirs) {
                    return (format!("{section}.{key}"), value(&ours), value(&theirs));
                }
            }
        }
        Default::default()
    }

    fn to_table(&self) -> toml::Table {
        toml::Table::try_from(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_key_and_both_values() {
        let a = Config::default();
        let mut b = a.clone();
        b.train.batch_size = 3;
        assert_eq!(a.first_difference(&b), ("train.batch_size".to_owned(), "8".to_owned(), "3".to_owned()));
        b = a.clone();
        b.train.labelled = Some(20);
        assert_eq!(a.first_difference(&b).1, "unset");
        assert_eq!(a.first_difference(&a).0, "");
    }
}
