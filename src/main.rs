use wgseg::gpu::{Gpu, GpuOptions};

fn main() {
    let gpu = Gpu::open(&GpuOptions::default()).unwrap();
    let op = std::env::args().nth(1);
    let report = wgseg::verify::verify(&gpu, op.as_deref(), |r| {
        println!(
            "{} {:26} {:24} {:9} {:10.2e} / {:.2e} {}",
            if r.pass { "ok  " } else { "FAIL" },
            r.op,
            r.case,
            r.check,
            r.max_error.unwrap_or(f64::NAN),
            r.bound,
            r.shaders
        )
    })
    .unwrap();
    println!("{} passed {} failed on {}", report.passed, report.failed, report.adapter);
}
