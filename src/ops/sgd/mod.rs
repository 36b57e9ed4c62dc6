//! Stochastic gradient descent with momentum.

use super::optimizer::{Hyper, kernel, lower_scale, reference_is_skipped, reference_scale, update_shape};
use super::registry::Entry;
use super::unscale::Unscale;
use super::{Case, Fill, Op};
use crate::program::{Lower, LowerError, Shader};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("sgd/forward");

pub const ENTRY: Entry = Entry { name: "sgd", parts: &[], no_backward: Some("it is an update"), cases };

/// `g = scale · gradient + weight_decay · parameter`, `velocity = momentum · velocity + g`,
/// `parameter −= learning_rate · velocity`, with a velocity that starts at 0. As `torch.optim.SGD`
/// without dampening.
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    pub momentum: f32,
    pub weight_decay: f32,
}

/// Tensors of the parameter's shape among the inputs.
const SAME: usize = 3;

impl Tape {
    /// Appends an update of `parameter` by `gradient`, and of the state `velocity`; all three are of
    /// one shape, any. `hyper [4]` is [`Hyper::to_array`], of which it reads the learning rate;
    /// `gradient_scale` multiplies the gradient, see [`Tape::clip_by_global_norm`] and [`Tape::unscale`].
    pub fn sgd(
        &mut self,
        sgd: Sgd,
        parameter: Value,
        gradient: Value,
        velocity: Value,
        hyper: Value,
        gradient_scale: Option<Value>,
    ) -> Result<Value, TapeError> {
        let inputs: Vec<Value> =
            [parameter, gradient, velocity, hyper].into_iter().chain(gradient_scale).collect();
        self.push(sgd, &inputs)
    }
}

impl Op for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        update_shape(inputs, SAME)
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        if reference_is_skipped(inputs, SAME) {
            return self.in_place().iter().map(|i| inputs[*i].data.clone()).collect();
        }
        let (scale, rate) = (reference_scale(inputs, SAME), inputs[SAME].data[0]);
        let (momentum, weight_decay) = (f64::from(self.momentum), f64::from(self.weight_decay));
        let elements = inputs[0].data.iter().zip(&inputs[1].data).zip(&inputs[2].data);
        let (parameter, velocity) = elements
            .map(|((p, g), v)| {
                let v = momentum * v + scale * g + weight_decay * p;
                (p - rate * v, v)
            })
            .unzip();
        vec![parameter, velocity]
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let vectors = lower.input_shape(0).len().div_ceil(4);
        let (scale, scale_at) = lower_scale(lower, SAME);
        let params = [vectors.into(), scale_at, self.momentum.into(), self.weight_decay.into()];
        let operands = [lower.input(0), lower.input(1), lower.input(2), lower.input(3), scale];
        lower.dispatch_items(kernel(lower, SAME, &FORWARD), &params, &operands, vectors)
    }

    fn in_place(&self) -> &'static [usize] {
        &[0, 2]
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        7 * inputs[0].len() as u64
    }
}

fn cases() -> Vec<Case> {
    let case = |name: &str, why, momentum, weight_decay, shape: [usize; 2]| {
        let any = Fill::Uniform(-1.0, 1.0);
        Case::new(name, why, Sgd { momentum, weight_decay })
            .fixed(shape, any)
            .fixed(shape, any)
            .fixed(shape, any)
            .fixed([Hyper::LEN], Fill::Uniform(0.1, 0.9))
    };
    vec![
        case("1", "a single element", 0.9, 0.1, [1, 1]),
        case("plain", "neither momentum nor decay", 0.0, 0.0, [7, 3]),
        case("41x47", "primes", 0.9, 0.1, [41, 47]),
        case("41x47 clipped", "a scale of its own", 0.9, 0.1, [41, 47]).fixed([1], Fill::Constant(0.3)),
        case("41x47 unscaled", "an update that could be left out", 0.9, 0.1, [41, 47])
            .fixed([Unscale::LEN], Fill::Constant(0.3)),
        case("5x7 left out", "nothing changes", 0.9, 0.1, [5, 7]).fixed([Unscale::LEN], Fill::Constant(0.0)),
        case("41x47 folded", "the path of more than 65,535 workgroups", 0.9, 0.1, [41, 47]).max_workgroups(3),
    ]
}
