//! The configs that come with the program, so that it needs no files to start.

use std::path::Path;

const CONFIGS: [(&str, &str); 8] = [
    ("default", include_str!("../../configs/default.toml")),
    ("lungs", include_str!("../../configs/lungs.toml")),
    ("lungs_few", include_str!("../../configs/lungs_few.toml")),
    ("phantom", include_str!("../../configs/phantom.toml")),
    ("two_stage_lungs", include_str!("../../configs/two_stage_lungs.toml")),
    ("two_stage_phantom", include_str!("../../configs/two_stage_phantom.toml")),
    ("compare_lungs", include_str!("../../configs/compare_lungs.toml")),
    ("compare_vessels", include_str!("../../configs/compare_vessels.toml")),
];

/// The names of the built-in configs.
pub fn names() -> Vec<&'static str> {
    CONFIGS.iter().map(|(name, _)| *name).collect()
}

/// The TOML of the config that `path` names: `lungs`, `lungs.toml` or `configs/lungs.toml`.
pub fn find(path: &Path) -> Option<&'static str> {
    let path = path.strip_prefix("configs").unwrap_or(path);
    let name = path.to_str()?;
    let name = name.strip_suffix(".toml").unwrap_or(name);
    CONFIGS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::keys;

    #[test]
    fn every_builtin_config_loads_by_each_of_its_names() {
        for name in names() {
            for path in [name.to_string(), format!("{name}.toml"), format!("configs/{name}.toml")] {
                Config::parse(find(Path::new(&path)).unwrap(), &path, &[]).unwrap();
            }
        }
        assert_eq!(find(Path::new("other/lungs.toml")), None);
    }

    #[test]
    fn default_toml_is_the_default() {
        let text = find(Path::new("default")).unwrap();
        assert_eq!(Config::parse(text, "default", &[]).unwrap(), Config::default());
    }

    /// Keys that are unset by default stand in a comment, `# key = value`.
    #[test]
    fn default_toml_shows_every_key_with_a_valid_value() {
        let mut text = String::new();
        for line in find(Path::new("default")).unwrap().lines() {
            let commented = line
                .strip_prefix("# ")
                .filter(|rest| rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')));
            text += commented.unwrap_or(line);
            text += "\n";
        }
        Config::parse(&text, "default", &[]).unwrap();
        let table: toml::Table = text.parse().unwrap();
        for key in keys::known().unwrap() {
            assert!(table[key.section].get(key.name).is_some(), "default.toml lacks {}", key.full());
        }
    }
}
