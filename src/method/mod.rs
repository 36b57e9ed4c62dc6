//! The two-stage method and its rivals: which trainings there are, what each needs, and what
//! comes out.

pub mod coupling;
pub mod distil;
pub mod material;
pub mod perform;
pub mod run;
