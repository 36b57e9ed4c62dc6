//! The table: which form is taken at which point, for one adapter, driver and build.
//!
//! ```json
//! {
//!   "version": 1,
//!   "date": "2026-11-26",
//!   "adapter": "Some GPU", "backend": "vulkan", "driver": "driver 1.2",
//!   "wgseg": "0.1.0", "kernels": "9f3c…",
//!   "points": [
//!     {"family": "tiled", "kernel": "conv2d", "shape": "8x64x64x32 → 8x64x64x32 by 3x3 stride 1 padding 1",
//!      "rule": "tiled 128x32", "rule_ms": 0.41, "form": "tiled 256x32", "ms": 0.35}
//!   ]
//! }
//! ```

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::TuneError;
use crate::gpu::AdapterDescription;
use crate::program::{Choices, Point};
use crate::report::ReportError;
use crate::report::run_folder::{make_folder, write_json};

/// Of the file's form.
const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub version: u32,
    /// Day of the measurement, UTC.
    pub date: String,
    pub adapter: String,
    pub backend: String,
    pub driver: String,
    /// Version of wgseg.
    pub wgseg: String,
    /// Hash of the kernels and of what lowers to them.
    pub kernels: String,
    pub points: Vec<TunedPoint>,
}

/// What was measured at a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TunedPoint {
    #[serde(flatten)]
    pub point: Point,
    /// The form without a table, and its time.
    pub rule: String,
    pub rule_ms: f64,
    /// The form that is taken; the rule's unless another is clearly faster.
    pub form: String,
    pub ms: f64,
}

/// Why a table is of no use here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    Adapter {
        found: String,
        expected: String,
    },
    Driver {
        found: String,
        expected: String,
    },
    /// The kernels were others; the versions of wgseg, which may be equal.
    Build {
        found: String,
        expected: String,
    },
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Stale::Adapter { found, expected } => write!(f, "of the adapter {found}, not of {expected}"),
            Stale::Driver { found, expected } => write!(f, "of the driver {found}, not of {expected}"),
            Stale::Build { found, expected } if found == expected => {
                write!(f, "of another build of wgseg {found}, with other kernels")
            }
            Stale::Build { found, expected } => write!(f, "of wgseg {found}, not of {expected}"),
        }
    }
}

impl Table {
    /// A table of today, for this build on `adapter`.
    pub fn new(adapter: &AdapterDescription, points: Vec<TunedPoint>) -> Table {
        Table {
            version: VERSION,
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            adapter: adapter.name.clone(),
            backend: adapter.backend.clone(),
            driver: adapter.driver.clone(),
            wgseg: env!("CARGO_PKG_VERSION").to_owned(),
            kernels: env!("WGSEG_KERNELS").to_owned(),
            points,
        }
    }

    /// # Errors
    /// The file cannot be read, or is no table of this version.
    pub fn read(path: &Path) -> Result<Table, TuneError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let bytes = std::fs::read(path).map_err(|source| TuneError::Read { path: path.into(), source })?;
        let not = |message: String| TuneError::NotATable { path: path.into(), message };
        let Versioned { version } = serde_json::from_slice(&bytes).map_err(|e| not(e.to_string()))?;
        if version != VERSION {
            return Err(not(format!("version {version} of the table, where this wgseg has {VERSION}")));
        }
        serde_json::from_slice(&bytes).map_err(|e| not(e.to_string()))
    }

    /// Writes it, whole or not at all, in a folder that is made if need be.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ReportError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            make_folder(folder)?;
        }
        write_json(path, self)
    }

    /// Checks that it was made on this adapter and driver by this build.
    ///
    /// # Errors
    /// It was not, with what differs.
    pub fn check(&self, adapter: &AdapterDescription) -> Result<(), Stale> {
        let named = |name: &str, backend: &str| format!("{name:?} ({backend})");
        let (found, expected) = (named(&self.adapter, &self.backend), named(&adapter.name, &adapter.backend));
        if found != expected {
            return Err(Stale::Adapter { found, expected });
        }
        if self.driver != adapter.driver {
            let quoted = |driver: &String| format!("{driver:?}");
            return Err(Stale::Driver { found: quoted(&self.driver), expected: quoted(&adapter.driver) });
        }
        if self.kernels != env!("WGSEG_KERNELS") {
            let expected = env!("CARGO_PKG_VERSION").to_owned();
            return Err(Stale::Build { found: self.wgseg.clone(), expected });
        }
        Ok(())
    }

    /// What `compile` reads: the forms that are not the rule's.
    pub fn choices(&self) -> Choices {
        let others = self.points.iter().filter(|point| point.form != point.rule);
        Choices::new(others.map(|point| (point.point.clone(), point.form.clone())))
    }

    /// Takes over from an `earlier` table of the same adapter, driver and build the points that this one has not.
    /// Gives their number.
    pub fn keep(&mut self, earlier: Table) -> usize {
        let known: HashSet<Point> = self.points.iter().map(|point| point.point.clone()).collect();
        let before = self.points.len();
        self.points.extend(earlier.points.into_iter().filter(|point| !known.contains(&point.point)));
        self.points.len() - before
    }

    /// Gives every point the rule's form.
    pub fn take_rule(&mut self) {
        for point in &mut self.points {
            (point.form, point.ms) = (point.rule.clone(), point.rule_ms);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::program::Family;

    pub fn adapter() -> AdapterDescription {
        AdapterDescription {
            index: 0,
            name: "Some GPU".into(),
            backend: "vulkan".into(),
            device_type: "DiscreteGpu".into(),
            driver: "driver 1".into(),
            family: Family::Tiled,
            subgroups: false,
            half: true,
            max_binding_bytes: 1 << 27,
            max_buffer_bytes: 1 << 30,
            chosen: true,
        }
    }

    pub fn point(shape: &str, form: &str) -> TunedPoint {
        TunedPoint {
            point: Point { family: Family::Tiled, kernel: "conv2d".into(), shape: shape.into() },
            rule: "naive".into(),
            rule_ms: 2.0,
            form: form.into(),
            ms: 1.0,
        }
    }

    #[test]
    fn a_table_is_read_as_it_was_written_and_chooses_what_is_not_the_rules() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/table.json");
        let mut table = Table::new(&adapter(), vec![point("a", "tiled 128x32"), point("b", "naive")]);
        table.write(&path).unwrap();
        assert_eq!(Table::read(&path).unwrap(), table);
        table.check(&adapter()).unwrap();
        let choices = table.choices();
        assert_eq!(choices.form(&table.points[0].point), Some("tiled 128x32"));
        assert_eq!(choices.form(&table.points[1].point), None);
        assert!(choices.id().is_some());
        table.take_rule();
        assert_eq!(table.choices().id(), None);
    }

    #[test]
    fn a_stale_table_says_what_of() {
        #[track_caller]
        fn stale(change: fn(&mut Table), expected: &str) {
            let mut table = Table::new(&adapter(), vec![]);
            change(&mut table);
            let message = table.check(&adapter()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        stale(
            |t| t.adapter = "Other GPU".into(),
            "of the adapter \"Other GPU\" (vulkan), not of \"Some GPU\"",
        );
        stale(|t| t.backend = "gl".into(), "of the adapter \"Some GPU\" (gl)");
        stale(|t| t.driver = "driver 2".into(), "of the driver \"driver 2\", not of \"driver 1\"");
        stale(|t| t.kernels.push('0'), "of another build of wgseg");
        stale(
            |t| (t.kernels, t.wgseg) = ("0".into(), "0.0.9".into()),
            concat!("of wgseg 0.0.9, not of ", env!("CARGO_PKG_VERSION")),
        );
    }

    #[test]
    fn what_is_no_table_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.json");
        for (text, expected) in [
            ("{", "EOF"),
            ("{}", "version"),
            ("{\"version\": 7, \"points\": {}}", "version 7 of the table, where this wgseg has 1"),
            ("{\"version\": 1}", "missing field"),
        ] {
            std::fs::write(&path, text).unwrap();
            let message = Table::read(&path).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("table.json"), "{message}");
        }
        assert!(matches!(Table::read(&folder.path().join("none")), Err(TuneError::Read { .. })));
    }

    #[test]
    fn points_of_an_earlier_table_are_kept_where_they_were_not_measured_again() {
        let mut table = Table::new(&adapter(), vec![point("a", "naive")]);
        let earlier = Table::new(&adapter(), vec![point("a", "tiled 128x32"), point("b", "tiled 256x16")]);
        assert_eq!(table.keep(earlier), 1);
        assert_eq!(table.points, [point("a", "naive"), point("b", "tiled 256x16")]);
    }
}
