//! `wgseg two-stage`

use super::{Outcome, experiment};
use crate::method::plan::Which;

pub use super::experiment::Args;

pub fn run(args: Args) -> Outcome {
    experiment::run(args, Which::TwoStage)
}
