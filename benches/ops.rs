//! Each op and its backward at the shapes of a U-Net, as `wgseg bench --op` times them:
//! `cargo bench --bench ops`, or `cargo bench --bench ops -- conv2d --quick`.

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use wgseg::bench::ops::{OpRow, checked, timed};
use wgseg::gpu::{Gpu, GpuOptions, Session};
use wgseg::ops::registry::{ENTRIES, Entry};

/// The ops of an entry's cases, each compared with the reference, ready to be timed.
fn sessions(gpu: &Arc<Gpu>, entry: &Entry) -> Vec<(OpRow, Session)> {
    let mut sessions: Vec<(OpRow, Session)> = vec![];
    checked(gpu, entry, &|_| {}, &mut |row, session| {
        assert!(row.pass, "{} {} is wrong on this adapter: {row:?}", row.op, row.case);
        // An op that is used again came with more bytes: it takes the place of the first.
        sessions.retain(|(known, _)| (&known.op, &known.case) != (&row.op, &row.case));
        sessions.push((row, session));
        Ok(())
    })
    .expect("a check of each op");
    sessions
}

fn ops(criterion: &mut Criterion) {
    let gpu =
        Gpu::open(&GpuOptions::default()).expect("an adapter; scripts/setup.sh installs a software one");
    for entry in ENTRIES {
        let mut group = criterion.benchmark_group(entry.name);
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(2))
            .warm_up_time(Duration::from_millis(500));
        // Checked when the first of them is timed: a filter may leave out the whole op.
        let mut made: Option<Vec<(OpRow, Session)>> = None;
        for (case, op) in timed(entry).expect("the ops of its cases") {
            group.bench_function(format!("{op} {case}"), |bencher| {
                let sessions = made.get_or_insert_with(|| sessions(&gpu, entry));
                let found = sessions.iter_mut().find(|(row, _)| (&row.op, &row.case) == (&op, &case));
                let (_, session) = found.expect("an op that was checked");
                bencher.iter_custom(|runs| Duration::from_secs_f64(session.time_many(runs).expect("a run")));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, ops);
criterion_main!(benches);
