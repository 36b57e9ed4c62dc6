//! Two reports side by side.

use std::path::Path;

use super::{BenchError, Report};

/// A thing that both reports timed.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub what: String,
    pub a_ms: f64,
    pub b_ms: f64,
}

impl Pair {
    /// How many times as fast B is as A.
    pub fn speed_up(&self) -> f64 {
        self.a_ms / self.b_ms
    }
}

pub fn read(path: &Path) -> Result<Report, BenchError> {
    let problem = |message: String| BenchError::NotAReport { path: path.display().to_string(), message };
    let text = std::fs::read_to_string(path).map_err(|e| problem(e.to_string()))?;
    serde_json::from_str(&text).map_err(|e| problem(e.to_string()))
}

/// What both timed, the ops first, in the order of `a`. A U-Net counts only at the same sizes.
pub fn pairs(a: &Report, b: &Report) -> Vec<Pair> {
    let mut pairs = vec![];
    for row in &a.ops {
        let other = b.ops.iter().find(|o| o.op == row.op && o.case == row.case);
        if let (Some(x), Some(y)) = (&row.timing, other.and_then(|o| o.timing.as_ref())) {
            let what = format!("{} {}", row.op, row.case);
            pairs.push(Pair { what, a_ms: x.median_ms, b_ms: y.median_ms });
        }
    }
    if let (Some(x), Some(y)) = (&a.unet, &b.unet)
        && (x.batch, x.size, x.base, x.depth) == (y.batch, y.size, y.base, y.depth)
    {
        let unet = |what: &str, a_ms, b_ms| Pair { what: format!("U-Net {what}"), a_ms, b_ms };
        pairs.push(unet("training step", x.train_step_ms, y.train_step_ms));
        pairs.push(unet("inference", x.infer_ms, y.infer_ms));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Ceilings, OpRow, Timing};

    fn report(rows: &[(&str, &str, Option<f64>)]) -> Report {
        let adapter = serde_json::from_value(serde_json::json!({
            "index": 0, "name": "a", "backend": "b", "device_type": "c", "driver": "d", "family": "cpu",
            "subgroups": true, "max_binding_bytes": 1, "max_buffer_bytes": 1, "chosen": true,
        }));
        let row = |(op, case, ms): &(&str, &str, Option<f64>)| OpRow {
            op: (*op).to_owned(),
            case: (*case).to_owned(),
            shaders: String::new(),
            flops: 1,
            bytes: 1,
            max_error: None,
            bound: 0.0,
            pass: ms.is_some(),
            timing: ms.map(|median_ms| Timing { median_ms, spread_percent: 0.0 }),
        };
        Report {
            adapter: adapter.expect("an adapter"),
            version: "1".to_owned(),
            tuning: None,
            ceilings: Ceilings::default(),
            final_rate_percent: 0.0,
            ops: rows.iter().map(row).collect(),
            unet: None,
        }
    }

    #[test]
    fn only_what_both_timed_is_paired_by_op_and_case() {
        let a = report(&[("add", "x", Some(4.0)), ("mul", "x", Some(1.0)), ("relu", "x", None)]);
        let b = report(&[("relu", "x", Some(1.0)), ("add", "y", Some(9.0)), ("add", "x", Some(2.0))]);
        let pairs = pairs(&a, &b);
        assert_eq!(pairs, [Pair { what: "add x".to_owned(), a_ms: 4.0, b_ms: 2.0 }]);
        assert_eq!(pairs[0].speed_up(), 2.0);
    }

    #[test]
    fn a_report_survives_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.json");
        let a = report(&[("add", "x", Some(4.0)), ("relu", "x", None)]);
        std::fs::write(&path, serde_json::to_string(&a).expect("JSON")).expect("a file");
        let back = read(&path).expect("a report");
        assert_eq!(back.ops, a.ops);
        assert!(back.unet.is_none());
        std::fs::write(&path, "{\"adapter\": 1}").expect("a file");
        let error = read(&path).expect_err("no report").to_string();
        assert!(error.contains("a.json") && error.contains("wgseg bench --json"), "{error}");
    }
}
