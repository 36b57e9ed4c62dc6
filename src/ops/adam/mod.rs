//! Adam, and AdamW: Adam with decoupled weight decay.

use super::optimizer::{Hyper, kernel, lower_scale, reference_is_skipped, reference_scale, update_shape};
use super::registry::Entry;
use super::unscale::Unscale;
use super::{Case, Fill, Op};
use crate::program::{Lower, LowerError, Shader, Word};
use crate::reference::Tensor;
use crate::shader;
use crate::tape::{Shape, Tape, TapeError, Value};

static FORWARD: Shader = shader!("adam/forward");

pub const ENTRY: Entry = Entry { name: "adam", parts: &[], no_backward: Some("it is an update"), cases };

/// With `m` and `v` the two moments, which start at 0, and t the step:
///
/// ```text
/// g = scale · gradient + weight_decay · parameter            (Adam)
/// g = scale · gradient                                       (AdamW)
/// parameter −= learning_rate · weight_decay · parameter      (AdamW)
/// m = beta1 · m + (1 − beta1) · g
/// v = beta2 · v + (1 − beta2) · g²
/// parameter −= learning_rate / (1 − beta1^t) · m / (√v / √(1 − beta2^t) + epsilon)
/// ```
///
/// Kingma and Ba, Adam, 2015; Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019.
/// As `torch.optim.Adam` and `torch.optim.AdamW`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// In f64, like `beta2`: in f32, 1 − beta would keep few digits.
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f32,
    pub weight_decay: f32,
    pub decay: Decay,
}

/// What a weight decay is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decay {
    /// The gradient, and so the moments: Adam.
    Coupled,
    /// The parameter alone: AdamW.
    Decoupled,
}

/// Tensors of the parameter's shape among the inputs.
const SAME: usize = 4;

impl Tape {
    /// Appends an update of `parameter` by `gradient`, and of the states `first_moment` and
    /// `second_moment`; all four are of one shape, any. `hyper [4]` is [`Hyper::to_array`] with the
    /// same betas; `gradient_scale` multiplies the gradient, see [`Tape::clip_by_global_norm`] and
    /// [`Tape::unscale`].
    #[allow(clippy::too_many_arguments)] // The inputs of one op.
    pub fn adam(
        &mut self,
        adam: Adam,
        parameter: Value,
        gradient: Value,
        first_moment: Value,
        second_moment: Value,
        hyper: Value,
        gradient_scale: Option<Value>,
    ) -> Result<Value, TapeError> {
        let inputs: Vec<Value> = [parameter, gradient, first_moment, second_moment, hyper]
            .into_iter()
            .chain(gradient_scale)
            .collect();
        self.push(adam, &inputs)
    }
}

impl Adam {
    /// Adam with PyTorch's default betas and epsilon.
    pub fn new(weight_decay: f32) -> Adam {
        Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay, decay: Decay::Coupled }
    }

    /// AdamW with PyTorch's default betas and epsilon.
    pub fn adamw(weight_decay: f32) -> Adam {
        Adam { decay: Decay::Decoupled, ..Adam::new(weight_decay) }
    }

    /// The weight decays of the gradient and of the parameter; one is 0.
    fn decays(&self) -> [f32; 2] {
        match self.decay {
            Decay::Coupled => [self.weight_decay, 0.0],
            Decay::Decoupled => [0.0, self.weight_decay],
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
        if reference_is_skipped(inputs, SAME) {
            return self.in_place().iter().map(|i| inputs[*i].data.clone()).collect();
        }
        let scale = reference_scale(inputs, SAME);
        let hyper = &inputs[SAME].data;
        let (rate, correction1, correction2) = (hyper[0], hyper[1], hyper[2]);
        let [coupled, decoupled] = self.decays().map(f64::from);
        let mut results = vec![vec![]; 3];
        for (i, p) in inputs[0].data.iter().enumerate() {
            let g = scale * inputs[1].data[i] + coupled * p;
            let m = self.beta1 * inputs[2].data[i] + (1.0 - self.beta1) * g;
            let v = self.beta2 * inputs[3].data[i] + (1.0 - self.beta2) * g * g;
            let divisor = v.sqrt() / correction2.sqrt() + f64::from(self.epsilon);
            let decayed = p - rate * decoupled * p;
            for (result, x) in results.iter_mut().zip([decayed - rate / correction1 * m / divisor, m, v]) {
                result.push(x);
            }
        }
        results
    }

    fn lower(&self, lower: &mut Lower) -> Result<(), LowerError> {
        let vectors = lower.input_shape(0).len().div_ceil(4);
        let (scale, scale_at) = lower_scale(lower, SAME);
        let mut params = vec![Word::from(vectors), scale_at];
        params.extend([1.0 - self.beta1, self.beta2, 1.0 - self.beta2].map(|x| Word::from(x as f32)));
        let [coupled, decoupled] = self.decays();
        params.extend([self.epsilon, coupled, decoupled].map(Word::from));
        let mut operands: Vec<_> = (0..=SAME).map(|i| lower.input(i)).collect();
        operands.push(scale);
        lower.dispatch_items(kernel(lower, SAME, &FORWARD), &params, &operands, vectors)
    }

    fn in_place(&self) -> &'static [usize] {
        &[0, 2, 3]
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        18 * inputs[0].len() as u64
    }
}

fn cases() -> Vec<Case> {
    // A beta2 far from 1 and second moments away from 0: every term of the update shows.
    let adam = |weight_decay| Adam { beta2: 0.9, ..Adam::new(weight_decay) };
    let case = |name: &str, why, op: Adam, shape: [usize; 2]| {
        Case::new(name, why, op)
            .fixed(shape, Fill::Uniform(-1.0, 1.0))
            .fixed(shape, Fill::Uniform(-1.0, 1.0))
            .fixed(shape, Fill::Uniform(-1.0, 1.0))
            .fixed(shape, Fill::Uniform(0.1, 1.0))
            .fixed([Hyper::LEN], Fill::Uniform(0.1, 0.9))
    };
    let adamw = |weight_decay| Adam { decay: Decay::Decoupled, ..adam(weight_decay) };
    let primes = [41, 47];
    vec![
        case("1", "a single element", adam(0.1), [1, 1]),
        case("no decay", "no weight decay", adam(0.0), [7, 3]),
        case("41x47", "primes", adam(0.1), primes),
        case("41x47 adamw", "decoupled decay", adamw(0.1), primes),
        case("41x47 default", "default betas and epsilon", Adam::adamw(0.01), primes),
        case("41x47 clipped", "a scale of its own", adamw(0.1), primes).fixed([1], Fill::Constant(0.3)),
        case("41x47 unscaled", "an update that could be left out", adamw(0.1), primes)
            .fixed([Unscale::LEN], Fill::Constant(0.3)),
        case("5x7 left out", "nothing changes", adamw(0.1), [5, 7])
            .fixed([Unscale::LEN], Fill::Constant(0.0)),
        case("41x47 folded", "the path of more than 65,535 workgroups", adam(0.1), primes).max_workgroups(3),
    ]
}
