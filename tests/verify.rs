//! Every op, every case, every family of kernels, on the adapter of this machine.

use wgseg::gpu::{Gpu, GpuOptions};

#[test]
fn every_kernel_agrees_with_the_reference() {
    let gpu =
        Gpu::open(&GpuOptions::default()).expect("an adapter; scripts/setup.sh installs a software one");
    let report = wgseg::verify::verify(&gpu, None, |_| {}).expect("verify runs");
    let failed: Vec<_> = report.ops.iter().filter(|r| !r.pass).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(report.passed, report.ops.len());
}
