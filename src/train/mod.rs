//! Training: schedule of the learning rate and metrics.

pub mod metrics;
pub mod schedule;
