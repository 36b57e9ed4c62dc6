//! The two-stage method and its rivals: which trainings there are, what each needs, and what
//! comes out.

pub mod assess;
pub mod check;
pub mod coupling;
pub mod distil;
pub mod error;
pub mod execute;
pub mod faculty;
pub mod forecast;
pub mod graph;
pub mod inputs;
pub mod material;
pub mod only;
pub mod perform;
pub mod plan;
pub mod run;
pub mod slurm;
pub mod view;
pub mod weights;
