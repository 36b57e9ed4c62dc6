//! wgseg trains U-Nets for medical image segmentation on any GPU.
//!
//! A [`tape`] describes a computation. [`program`] compiles it for an adapter, [`gpu`] replays
//! it there, and [`mod@reference`] interprets it on the CPU in f64 to check both. [`nn`] puts
//! networks on tapes, [`train`] trains them on what [`data`] reads, and [`report`] draws.

pub mod bench;
pub mod cli;
pub mod config;
pub mod conformance;
pub mod data;
pub mod doctor;
pub mod export;
pub mod gpu;
pub mod inspect;
mod itself;
pub mod method;
pub mod nn;
pub mod onnx;
pub mod ops;
pub mod program;
pub mod reference;
pub mod report;
pub mod rng;
pub mod tape;
pub mod tasks;
pub mod train;
pub mod tune;
pub mod verify;
pub mod web;
