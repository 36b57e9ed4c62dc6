//! Adam.

use super::optimizer::{Hyper, lower_scale, reference_scale, update_shape};
use super::registry::Entry;
use super::{Case, Fill, Op};
use crate::program::{Kernel, Lower, LowerError, Shader, Word};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("adam/forward");

pub const ENTRY: Entry = Entry { name: "adam", parts: &[], no_backward: Some("it is an update"), cases };

/// With `m` and `v` the moments, which start at 0, and t the step:
///
/// ```text
/// g = scale · gradient + weight_decay · parameter
/// m = beta1 · m + (1 − beta1) · g
/// v = beta2 · v + (1 − beta2) · g²
/// parameter −= learning_rate / (1 − beta1^t) · m / (√v / √(1 − beta2^t) + epsilon)
/// ```
///
/// Kingma and Ba, Adam, 2015. As `torch.optim.Adam`.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
}

impl Tape {
    /// Appends an update of `parameter` by `gradient`, and of the states `moments`, the first and the
    /// second; all four are of one shape, any. `hyper [4]` is [`Hyper::to_array`];
    /// `gradient_scale [1]` multiplies the gradient, see [`Tape::clip_by_global_norm`].
    pub fn adam(
        &mut self,
        adam: Adam,
        parameter: Value,
        gradient: Value,
        moments: [Value; 2],
        hyper: Value,
        gradient_scale: Option<Value>,
    ) -> Result<Value, TapeError> {
        let inputs: Vec<Value> =
            [parameter, gradient, moments[0], moments[1], hyper].into_iter().chain(gradient_scale).collect();
        self.push(adam, &inputs)
    }
}

impl Adam {
    fn rule(&self) -> Rule {
        Rule {
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            coupled_decay: self.weight_decay,
            decoupled_decay: 0.0,
        }
    }
}

impl Op for Adam {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn shape(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        update_shape(inputs, SAME)
    }

    fn reference(&self, inputs: &[&Tensor], _output: &Shape) -> Vec<Vec<f64>> {
        self.rule().reference(inputs)
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        self.rule().lower(lower)
    }

    fn in_place(&self) -> &'static [usize] {
        IN_PLACE
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        FLOPS * inputs[0].len() as u64
    }
}

/// Tensors of the parameter's shape among the inputs.
pub(super) const SAME: usize = 4;

/// The parameter and the two moments.
pub(super) const IN_PLACE: &[usize] = &[0, 2, 3];

/// Operations for an element of the parameter.
pub(super) const FLOPS: u64 = 18;

/// Adam with both kinds of weight decay, of which one is 0.
pub(super) struct Rule {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub coupled_decay: f64,
    pub decoupled_decay: f64,
}

impl Rule {
    pub fn reference(&self, inputs: &[&Tensor]) -> Vec<Vec<f64>> {
        let scale = reference_scale(inputs, SAME);
        let hyper = &inputs[SAME].data;
        let (rate, correction1, correction2) = (hyper[0], hyper[1], hyper[2]);
        let mut results = vec![vec![]; 3];
        for (i, p) in inputs[0].data.iter().enumerate() {
            let g = scale * inputs[1].data[i] + self.coupled_decay * p;
            let m = self.beta1 * inputs[2].data[i] + (1.0 - self.beta1) * g;
            let v = self.beta2 * inputs[3].data[i] + (1.0 - self.beta2) * g * g;
            let decayed = p - rate * self.decoupled_decay * p;
            let step = rate / correction1 * m / (v.sqrt() / correction2.sqrt() + self.epsilon);
            for (result, x) in results.iter_mut().zip([decayed - step, m, v]) {
                result.push(x);
            }
        }
        results
    }

    pub fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let vectors = lower.input_shape(0).len().div_ceil(4);
        let (scale, scale_at) = lower_scale(lower, SAME);
        let mut params = vec![Word::from(vectors), scale_at];
        // 1 − beta is rounded once: from beta in f32 it would have four digits.
        let numbers = [
            1.0 - self.beta1,
            self.beta2,
            1.0 - self.beta2,
            self.epsilon,
            self.coupled_decay,
            self.decoupled_decay,
        ];
        params.extend(numbers.map(|x| Word::from(x as f32)));
        let mut operands: Vec<_> = (0..=SAME).map(|i| lower.input(i)).collect();
        operands.push(scale);
        lower.dispatch_items(Kernel::new(&FORWARD), &params, &operands, vectors)
    }
}

/// Cases of an op made with a weight decay.
pub(super) fn adam_cases<O: Op + 'static>(op: impl Fn(f64) -> O) -> Vec<Case> {
    // Second moments are away from 0, where their root would magnify a rounding error.
    let case = |name: &str, why, weight_decay, shape: [usize; 2]| {
        Case::new(name, why, op(weight_decay))
            .fixed(shape, Fill::Uniform(-1.0, 1.0))
            .fixed(shape, Fill::Uniform(-1.0, 1.0))
            .fixed(shape, Fill::Uniform(-1.0, 1.0))
            .fixed(shape, Fill::Uniform(0.1, 1.0))
            .fixed([Hyper::LEN], Fill::Uniform(0.1, 0.9))
    };
    vec![
        case("1", "a single element", 0.1, [1, 1]),
        case("no decay", "no weight decay", 0.0, [7, 3]),
        case("41x47", "primes", 0.1, [41, 47]),
        case("41x47 clipped", "a scale of its own", 0.1, [41, 47]).fixed([1], Fill::Constant(0.3)),
        case("41x47 folded", "the path of more than 65,535 workgroups", 0.1, [41, 47]).max_workgroups(3),
    ]
}

fn cases() -> Vec<Case> {
    adam_cases(|weight_decay| Adam { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay })
}
