//! Convolutions and their gradients at shapes of a U-Net, to be timed.

use super::check::Checks;
use super::kernels::{add, draw, drawn};
use crate::bench::cases;
use crate::conformance::report::Group;
use crate::program::{Caps, Family, compile};
use crate::verify::{VerifyError, ops_and_inputs};
use crate::web::Shaders;

/// Of the shapes of `wgseg bench`: many pixels, some of both, many channels.
const TIMED: [&str; 3] = ["3x3 16→16 128²", "3x3 64→64 32²", "3x3 256→256 8²"];

pub fn checks(shaders: &mut Shaders) -> Result<Checks, VerifyError> {
    let mut found = Checks::default();
    let cases = cases::cases("conv2d").into_iter().filter(|case| TIMED.contains(&case.name.as_str()));
    for case in cases {
        for (op, shapes) in ops_and_inputs(&case)? {
            drawn(&case, &op, &shapes, &mut |alone| {
                let program = compile(&alone.tape()?, &Caps::default())?;
                let feeds = draw(&shapes, &mut found.tensors);
                let programs = [(Family::Tiled, program)];
                add(&mut found, (Group::Speed, case.why), alone, &programs, &feeds, shaders)?;
                let flops = op.flops(&shapes.iter().collect::<Vec<_>>(), &alone.output()?);
                found.checks.last_mut().into_iter().for_each(|check| check.flops = Some(flops));
                Ok(())
            })?;
        }
    }
    Ok(found)
}
