//! NaN and infinities pass through the kernels that compare numbers, instead of being lost there.

use wgseg::gpu::{Gpu, GpuOptions, Session, States};
use wgseg::program::compile;
use wgseg::tape::{Shape, Tape, TapeError, Value};

/// Runs `build` on one input and reads the results of its shape that it names.
fn run(
    shape: impl Into<Shape>,
    data: &[f32],
    build: impl FnOnce(&mut Tape, Value) -> Result<Value, TapeError>,
) -> Vec<f32> {
    let gpu =
        Gpu::open(&GpuOptions::default()).expect("an adapter; scripts/setup.sh installs a software one");
    let mut tape = Tape::new();
    let input = tape.input("input", shape).expect("one name");
    let result = build(&mut tape, input).expect("shapes fit");
    tape.output("result", result);
    let program = compile(&tape, gpu.caps()).expect("compiles");
    let mut session = Session::new(&gpu, program, &mut States::new()).expect("fits");
    session.write("input", data).expect("its length");
    session.run().expect("runs");
    session.read("result").expect("an output")
}

/// NaN as `None`, so that results can be compared.
fn numbers(result: &[f32]) -> Vec<Option<f32>> {
    result.iter().map(|x| (!x.is_nan()).then_some(*x)).collect()
}

#[test]
fn a_nan_is_the_largest_of_its_window() {
    let (nan, low) = (f32::NAN, f32::NEG_INFINITY);
    // Windows of 2×2 in a row: NaN first, in the middle, last; −∞ only; one with an infinity.
    let rows = [
        [nan, 5.0, 1.0, nan, 1.0, 2.0, low, low, 1.0, f32::INFINITY],
        [1.0, 2.0, 9.0, 3.0, 4.0, nan, low, low, 0.0, 2.0],
    ];
    let expected = [None, None, None, Some(low), Some(f32::INFINITY)];
    for channels in [1, 4] {
        let data: Vec<f32> = rows.concat().iter().flat_map(|x| std::iter::repeat_n(*x, channels)).collect();
        let expected: Vec<Option<f32>> =
            expected.iter().flat_map(|x| std::iter::repeat_n(*x, channels)).collect();
        let found = run([1, 2, 10, channels], &data, |t, x| t.max_pool2d(x, 2, 2, 0));
        assert_eq!(numbers(&found), expected, "{channels} channels");
        // The kernel for any window, by windows that see the same numbers.
        let found = run([1, 2, 10, channels], &data, |t, x| t.max_pool2d(x, 2, 4, 0));
        let every_second: Vec<_> = expected.chunks(channels).step_by(2).flatten().copied().collect();
        assert_eq!(numbers(&found), every_second, "{channels} channels, stride 4");
    }
}

#[test]
fn a_nan_spoils_its_channel_of_a_norm_and_no_other() {
    for channels in [3, 8] {
        let mut data: Vec<f32> = (0..70 * channels).map(|i| (i % 13) as f32).collect();
        data[40 * channels + 1] = f32::NAN;
        for relu in [false, true] {
            let found = run([1, 7, 10, channels], &data, |t, x| {
                let one = t.fill([channels], 1.0)?;
                Ok(t.batch_norm_train(x, one, one, 1e-5, relu)?.0)
            });
            for (i, y) in found.iter().enumerate() {
                assert_eq!(y.is_nan(), i % channels == 1, "{channels} channels, relu {relu}, at {i}");
            }
        }
    }
}

#[test]
fn a_nan_spoils_its_pixel_of_a_softmax_and_no_other() {
    let found = run([2, 3], &[1.0, f32::NAN, 2.0, 0.0, 0.0, f32::NEG_INFINITY], |t, x| t.softmax(x));
    assert_eq!(numbers(&found), [None, None, None, Some(0.5), Some(0.5), Some(0.0)]);
}
