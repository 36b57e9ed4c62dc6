//! The two-stage method and its rivals: which trainings there are, what each needs, and what
//! comes out.

pub mod coupling;
pub mod material;
pub mod perform;
pub mod plan;
pub mod run;
