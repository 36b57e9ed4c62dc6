//! What each op is timed at: the shapes of a U-Net of 16 base channels on 8 images of 128×128.

use crate::ops::adam::Adam;
use crate::ops::add::Add;
use crate::ops::bce_with_logits::BceWithLogits;
use crate::ops::channel_sum::ChannelSum;
use crate::ops::clip_scale::ClipScale;
use crate::ops::concat::Concat;
use crate::ops::conv_transpose2d::ConvTranspose2d;
use crate::ops::conv2d::Conv2d;
use crate::ops::cross_entropy::CrossEntropy;
use crate::ops::fill::FillWith;
use crate::ops::global_average_pool::GlobalAveragePool;
use crate::ops::global_norm::GlobalNorm;
use crate::ops::kl_distillation::KlDistillation;
use crate::ops::kl_distillation_binary::KlDistillationBinary;
use crate::ops::l1::L1;
use crate::ops::l2_normalize::L2Normalize;
use crate::ops::leaky_relu::LeakyRelu;
use crate::ops::linear::Linear;
use crate::ops::loss_scale_update::LossScaleUpdate;
use crate::ops::max_pool2d::MaxPool2d;
use crate::ops::mean::Mean;
use crate::ops::mse::Mse;
use crate::ops::mul::Mul;
use crate::ops::norm::{Norm, NormStats, Over};
use crate::ops::pack::Pack;
use crate::ops::pair_similarity::PairSimilarity;
use crate::ops::relu::Relu;
use crate::ops::running_update::RunningUpdate;
use crate::ops::scale::Scale;
use crate::ops::sgd::Sgd;
use crate::ops::sigmoid::Sigmoid;
use crate::ops::slice::Slice;
use crate::ops::soft_dice::{DiceOfSums, Per};
use crate::ops::soft_dice_sums::SoftDiceSums;
use crate::ops::softmax::Softmax;
use crate::ops::sum::Sum;
use crate::ops::unscale::Unscale;
use crate::ops::upsample_bilinear::UpsampleBilinear;
use crate::ops::upsample_nearest::UpsampleNearest;
use crate::ops::weighted_sum::WeightedSum;
use crate::ops::{Case, Fill, Hyper, Op};

const BATCH: usize = 8;
/// The output of the network's first level.
const ACTIVATIONS: [usize; 4] = [BATCH, 128, 128, 16];
const LOGITS: [usize; 4] = [BATCH, 128, 128, 1];
const CLASSES: [usize; 4] = [BATCH, 128, 128, 4];
/// A large layer's weights.
const WEIGHTS: [usize; 4] = [3, 3, 256, 256];

/// The cases of the op of this name; none where it has none.
pub fn cases(op: &str) -> Vec<Case> {
    let any = Fill::Uniform(-1.0, 1.0);
    let logits = Fill::Uniform(-3.0, 3.0);
    let one = |case: Case| vec![case];
    match op {
        "adam" => one(case("3x3 256→256", Adam::adamw(0.01))
            .fixed(WEIGHTS, any)
            .fixed(WEIGHTS, any)
            .fixed(WEIGHTS, any)
            .fixed(WEIGHTS, Fill::Uniform(0.1, 1.0))
            .fixed([Hyper::LEN], Fill::Uniform(0.1, 0.9))),
        "add" => one(case("8x128x128x16", Add).input(ACTIVATIONS).input(ACTIVATIONS)),
        "bce_with_logits" => one(case("8x128x128x1", BceWithLogits { positive_weight: 1.0 })
            .filled(LOGITS, logits)
            .fixed(LOGITS, Fill::Binary)),
        "channel_sum" => one(case("8x128x128x16", ChannelSum).input(ACTIVATIONS)),
        "unscale" => one(case("1", Unscale { max_norm: None })
            .fixed([1], Fill::Constant(2.0))
            .fixed([1], Fill::Constant(1024.0))),
        "loss_scale_update" => one(case("1", LossScaleUpdate { growth_steps: 5 })
            .fixed([1], Fill::Constant(2.0))
            .fixed([1], Fill::Constant(1024.0))
            .fixed([1], Fill::Constant(0.0))),
        "clip_scale" => one(case("1", ClipScale { max_norm: 0.5 }).fixed([1], Fill::Constant(2.0))),
        "concat" => one(case("8x128x128x16+16", Concat).input(ACTIVATIONS).input(ACTIVATIONS)),
        "conv2d" => conv2d(),
        "conv_transpose2d" => [(64, 32), (32, 64), (16, 128), (8, 256)]
            .map(|(size, channels)| {
                let name = format!("2x2 {channels}→{} {size}²", channels / 2);
                case(&name, ConvTranspose2d { stride: 2, padding: 0 })
                    .input([BATCH, size, size, channels])
                    .input([2, 2, channels / 2, channels])
                    .input([channels / 2])
            })
            .into(),
        "cross_entropy" => {
            one(case("8x128x128x4", CrossEntropy).filled(CLASSES, logits).fixed(LOGITS, Fill::Labels(4)))
        }
        "fill" => one(case("8x128x128x16", FillWith { shape: ACTIVATIONS.into(), value: 1.0 })),
        "global_average_pool" => one(case("8x8x8x256", GlobalAveragePool).input([BATCH, 8, 8, 256])),
        "global_norm" => one(case("3x3 256→256", GlobalNorm).input(WEIGHTS)),
        "kl_distillation" => one(case("8x128x128x4", KlDistillation { temperature: 2.0 })
            .filled(CLASSES, logits)
            .fixed(CLASSES, logits)),
        "kl_distillation_binary" => one(case("8x128x128x1", KlDistillationBinary { temperature: 2.0 })
            .filled(LOGITS, logits)
            .fixed(LOGITS, logits)),
        "l1" => one(case("8x128x128x1", L1).input(LOGITS).fixed(LOGITS, any)),
        "l2_normalize" => one(case("16x1x1x128", L2Normalize { epsilon: 1e-6 }).input([16, 1, 1, 128])),
        "leaky_relu" => one(case("8x128x128x16", LeakyRelu { slope: 0.01 }).input(ACTIVATIONS)),
        "linear" => one(case("16x256→128", Linear).input([16, 256]).input([256, 128]).input([128])),
        "max_pool2d" => one(case("2x2 8x128x128x16", MaxPool2d { kernel: 2, stride: 2, padding: 0 })
            .filled(ACTIVATIONS, Fill::Distinct)),
        "mean" => one(case("8x128x128x1", Mean).input(LOGITS)),
        "mse" => one(case("8x128x128x1", Mse).input(LOGITS).fixed(LOGITS, any)),
        "mul" => one(case("8x128x128x16", Mul).input(ACTIVATIONS).input(ACTIVATIONS)),
        "norm" => [(128, 16), (32, 64), (8, 256)]
            .map(|(size, channels)| {
                let over = Over::Batch;
                let op = Norm { over, eps: 1e-5, relu: true, constant_stats: false };
                case(&format!("batch + ReLU 8x{size}x{size}x{channels}"), op)
                    .input([BATCH, size, size, channels])
                    .filled([channels], Fill::Uniform(0.5, 1.5))
                    .input([channels])
                    .made(NormStats { over }, &[0])
            })
            .into(),
        "pack" => one(case("2 of 589,824", Pack { starts: vec![0, 589_824], length: 1_179_648 })
            .input(WEIGHTS)
            .input(WEIGHTS)),
        "pair_similarity" => one(case("16x128", PairSimilarity { factor: 2.0 }).input([16, 1, 1, 128])),
        "relu" => one(case("8x128x128x16", Relu).input(ACTIVATIONS)),
        "running_update" => one(case("256 channels", RunningUpdate { count: 512, momentum: 0.1 })
            .fixed([256], any)
            .fixed([256], Fill::Uniform(0.5, 2.0))
            .fixed([1, 2, 256], Fill::Uniform(0.1, 3.0))),
        "scale" => one(case("8x128x128x16", Scale { factor: 0.5 }).input(ACTIVATIONS)),
        "sgd" => one(case("3x3 256→256", Sgd { momentum: 0.9, weight_decay: 0.01 })
            .fixed(WEIGHTS, any)
            .fixed(WEIGHTS, any)
            .fixed(WEIGHTS, any)
            .fixed([Hyper::LEN], Fill::Uniform(0.1, 0.9))),
        "sigmoid" => one(case("8x128x128x1", Sigmoid).filled(LOGITS, logits)),
        "slice" => {
            one(case("8x128x128x32 0..16", Slice { start: 0, length: 16 }).input([BATCH, 128, 128, 32]))
        }
        "soft_dice" => {
            one(case("8x3", DiceOfSums { smooth: 1.0 }).filled([BATCH, 3], Fill::Uniform(2.0, 9.0)))
        }
        "soft_dice_sums" => one(case("8x128x128x1", SoftDiceSums { per: Per::Sample })
            .filled(LOGITS, logits)
            .fixed(LOGITS, Fill::Binary)),
        "softmax" => one(case("8x128x128x4", Softmax).filled(CLASSES, logits)),
        "sum" => one(case("8x128x128x16", Sum).input(ACTIVATIONS)),
        "upsample_bilinear" => {
            one(case("×2 8x64x64x32", UpsampleBilinear { factor: 2 }).input([BATCH, 64, 64, 32]))
        }
        "upsample_nearest" => {
            one(case("×2 8x64x64x32", UpsampleNearest { factor: 2 }).input([BATCH, 64, 64, 32]))
        }
        "weighted_sum" => one(case("4 of 589,824", WeightedSum { at: vec![0, 1, 2, 3] })
            .input([4])
            .input(WEIGHTS)
            .input(WEIGHTS)
            .input(WEIGHTS)
            .input(WEIGHTS)),
        _ => vec![],
    }
}

/// 3×3 at every level, with the same work at each, the first layer and the last.
fn conv2d() -> Vec<Case> {
    let conv = |size: usize, kernel: usize, channels: usize, out: usize| {
        let name = format!("{kernel}x{kernel} {channels}→{out} {size}²");
        case(&name, Conv2d { stride: 1, padding: kernel / 2 })
            .input([BATCH, size, size, channels])
            .input([kernel, kernel, channels, out])
    };
    let mut cases: Vec<Case> = [(128, 16), (64, 32), (32, 64), (16, 128), (8, 256), (4, 512)]
        .map(|(size, channels)| conv(size, 3, channels, channels))
        .into();
    cases.push(conv(128, 3, 1, 16));
    cases.push(conv(128, 1, 16, 1));
    cases
}

fn case(name: &str, op: impl Op + 'static) -> Case {
    Case::new(name, "a shape of the U-Net", op)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::registry::ENTRIES;

    #[test]
    fn every_op_has_cases_that_its_shape_rule_takes() {
        for entry in ENTRIES {
            let cases = cases(entry.name);
            assert!(!cases.is_empty(), "{} is not timed", entry.name);
            for case in cases {
                assert_eq!(case.op.name(), entry.name);
                let mut shapes: Vec<_> = case.inputs.iter().map(|i| i.shape.clone()).collect();
                for made in &case.made {
                    let from: Vec<_> = made.from.iter().map(|i| &case.inputs[*i].shape).collect();
                    shapes.push(made.op.shape(&from).expect("a shape"));
                }
                let shapes: Vec<_> = shapes.iter().collect();
                assert!(case.op.shape(&shapes).is_ok(), "{} {}", entry.name, case.name);
            }
        }
    }
}
