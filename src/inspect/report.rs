//! What was built of each kernel, beside the limits that the project holds itself to.

use serde::Serialize;

use super::assembly::{Loop, main_loop, multiplies_matrices};
use super::driver::Built;
use super::kernels::Used;

/// Waves a SIMD that a kernel should leave room for, to hide the latency of its loads.
pub const LEAST_WAVES: u64 = 4;
/// Percent of the vector instructions in a convolution's main loop that should be multiply-adds.
pub const LEAST_MULTIPLY_ADDS: f64 = 70.0;

/// A pipeline on a chip.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub kernel: String,
    /// Times that the programs run it.
    pub dispatches: usize,
    #[serde(flatten)]
    pub figures: Option<Figures>,
    /// Why nothing was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// The limits that it misses.
    pub misses: Vec<String>,
    #[serde(skip)]
    pub assembly: String,
}

/// The driver's figures of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Lanes of a wave.
    pub wave: u32,
    pub vgprs: u64,
    pub sgprs: u64,
    pub spilled_vgprs: u64,
    pub spilled_sgprs: u64,
    pub lds_bytes: u64,
    pub waves_per_simd: u64,
    pub instructions: u64,
    pub code_bytes: u64,
    pub main_loop: Option<Loop>,
    pub main_loop_multiply_add_percent: Option<f64>,
}

impl Figures {
    fn of(built: &Built) -> Result<Figures, String> {
        let of = |name: &str| {
            let found = built.statistics.get(name).copied();
            found.ok_or_else(|| format!("the driver does not tell {name:?}"))
        };
        let main_loop = main_loop(&built.assembly);
        Ok(Figures {
            wave: built.wave,
            vgprs: of("VGPRs")?,
            sgprs: of("SGPRs")?,
            spilled_vgprs: of("Spilled VGPRs")?,
            spilled_sgprs: of("Spilled SGPRs")?,
            lds_bytes: of("LDS size")?,
            waves_per_simd: of("Subgroups per SIMD")?,
            instructions: of("Instructions")?,
            code_bytes: of("Code size")?,
            main_loop,
            main_loop_multiply_add_percent: main_loop.map(|l| l.percent()),
        })
    }

    fn misses(&self, convolution: bool) -> Vec<String> {
        let mut misses = vec![];
        let spilled = self.spilled_vgprs + self.spilled_sgprs;
        if spilled > 0 {
            misses.push(format!("{spilled} registers spilled"));
        }
        if self.waves_per_simd < LEAST_WAVES {
            misses.push(format!("{} waves of {LEAST_WAVES}", self.waves_per_simd));
        }
        if convolution {
            match self.main_loop_multiply_add_percent {
                Some(percent) if percent >= LEAST_MULTIPLY_ADDS => {}
                Some(percent) => {
                    misses.push(format!("{percent:.1} % multiply-adds of {LEAST_MULTIPLY_ADDS:.0}"));
                }
                None => misses.push("no main loop".to_owned()),
            }
        }
        misses
    }
}

impl Row {
    pub(super) fn of(used: &Used, result: Result<Built, String>) -> Row {
        // A product of matrices is one instruction for hundreds of multiply-adds.
        let shader = used.kernel.shader;
        let is_convolution = shader.name.starts_with("conv2d/") && !shader.multiplies_matrices();
        let (figures, failed, assembly) = match result {
            Ok(built) => match Figures::of(&built) {
                Ok(figures) => (Some(figures), None, built.assembly),
                Err(why) => (None, Some(why), built.assembly),
            },
            Err(why) => (None, Some(why), String::new()),
        };
        let figures = match shader.multiplies_matrices() {
            true => figures.map(|figures| Figures { main_loop_multiply_add_percent: None, ..figures }),
            false => figures,
        };
        let mut misses = match &figures {
            Some(figures) => figures.misses(is_convolution),
            None => vec!["not built".to_owned()],
        };
        if shader.multiplies_matrices() && figures.is_some() && !multiplies_matrices(&assembly) {
            misses.push("no product of matrices".to_owned());
        }
        Row { kernel: used.label(), dispatches: used.dispatches, figures, failed, misses, assembly }
    }
}

/// All pipelines on a chip.
#[derive(Clone, Debug, Serialize)]
pub struct ChipReport {
    pub target: String,
    /// The null device and its driver, as they call themselves.
    pub driver: String,
    pub rows: Vec<Row>,
}

/// A chip in a few numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub kernels: usize,
    pub missing: usize,
    pub failed: usize,
    pub spilling: usize,
    pub most_vgprs: u64,
    pub least_waves: u64,
    /// Of the convolutions.
    pub least_multiply_add_percent: Option<f64>,
}

impl ChipReport {
    pub fn summary(&self) -> Summary {
        let figures = || self.rows.iter().filter_map(|row| row.figures.as_ref());
        let convolutions = self.rows.iter().filter(|row| row.kernel.starts_with("conv2d/"));
        Summary {
            kernels: self.rows.len(),
            missing: self.rows.iter().filter(|row| !row.misses.is_empty()).count(),
            failed: self.rows.iter().filter(|row| row.failed.is_some()).count(),
            spilling: figures().filter(|f| f.spilled_vgprs + f.spilled_sgprs > 0).count(),
            most_vgprs: figures().map(|f| f.vgprs).max().unwrap_or_default(),
            least_waves: figures().map(|f| f.waves_per_simd).min().unwrap_or_default(),
            least_multiply_add_percent: convolutions
                .filter_map(|row| row.figures.as_ref()?.main_loop_multiply_add_percent)
                .min_by(f64::total_cmp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        Figures {
            wave: 64,
            vgprs: 96,
            sgprs: 64,
            spilled_vgprs: 0,
            spilled_sgprs: 0,
            lds_bytes: 8192,
            waves_per_simd: 8,
            instructions: 100,
            code_bytes: 800,
            main_loop: None,
            main_loop_multiply_add_percent: Some(71.0),
        }
    }

    #[test]
    fn each_limit_is_missed_by_itself() {
        assert_eq!(figures().misses(true), Vec::<String>::new());
        assert_eq!(
            Figures { spilled_vgprs: 1, spilled_sgprs: 2, ..figures() }.misses(true),
            ["3 registers spilled"]
        );
        assert_eq!(Figures { waves_per_simd: 3, ..figures() }.misses(true), ["3 waves of 4"]);
        let few = Figures { main_loop_multiply_add_percent: Some(69.94), ..figures() };
        assert_eq!(few.misses(true), ["69.9 % multiply-adds of 70"]);
        assert_eq!(few.misses(false), Vec::<String>::new(), "only convolutions are products throughout");
        assert_eq!(
            Figures { main_loop_multiply_add_percent: None, ..figures() }.misses(true),
            ["no main loop"]
        );
    }

    #[test]
    fn a_statistic_that_is_not_told_is_an_error_and_not_0() {
        let why = Figures::of(&Built::default()).unwrap_err();
        assert!(why.contains("VGPRs"), "{why}");
    }
}
