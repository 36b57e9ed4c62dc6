//! What the integration tests share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::PathBuf;
use std::sync::Arc;

use wgseg::gpu::{Gpu, GpuOptions};

/// The best adapter of this machine.
pub fn gpu() -> Arc<Gpu> {
    Gpu::open(&GpuOptions::default()).expect("an adapter; scripts/setup.sh installs a software one")
}

/// The binary under test.
pub fn wgseg() -> assert_cmd::Command {
    assert_cmd::Command::new(env!("CARGO_BIN_EXE_wgseg"))
}

/// A file of `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}
