//! wgseg trains U-Nets for medical image segmentation on any GPU.

pub mod config;
pub mod data;
pub mod report;
pub mod rng;
pub mod train;
