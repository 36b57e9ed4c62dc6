//! Which of 30 permutations the tiles of a 3×3 grid were put in (Noroozi & Favaro, "Unsupervised
//! Learning of Visual Representations by Solving Jigsaw Puzzles", 2016), the shuffled image fed as a
//! whole (Carlucci et al., "Domain Generalization by Solving Jigsaw Puzzles", 2019).
//!
//! A tile is cut at a random place of its cell and leaves a gap to its neighbours, so that lines that
//! go on from tile to tile do not give the answer away.

use std::sync::OnceLock;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::judge::{ACCURACY, accuracy};
use super::{Dims, Head, Metric, Score, Shares, Task};
use crate::nn::Layers;
use crate::nn::init::Init;
use crate::ops::conv2d::Conv2d;
use crate::tape::{Shape, Tape, TapeError, Value};

/// Tiles of a side, and of the whole.
const GRID: usize = 3;
const TILES: usize = GRID * GRID;

/// As in Carlucci et al.
const PERMUTATIONS: usize = 30;

/// Side of the grid that the bottleneck is pooled to, at least, where it is larger.
const POOLED: usize = 4;

#[derive(Debug)]
pub(super) struct Jigsaw;

/// `[k][place]` is the tile that permutation `k` puts at `place`; the first changes nothing.
///
/// No two agree at more than one place, and no set of so many can do better: at most 9 permutations
/// agree nowhere. They are the first of the 72 maps `t ↦ a·t + b`, a ≠ 0, of the field of 9 elements,
/// where two such maps are equal at one `t` at most. Place 0 is 0 of the field, place p is `g^(p−1)`.
fn permutations() -> &'static [[usize; TILES]] {
    static FOUND: OnceLock<Vec<[usize; TILES]>> = OnceLock::new();
    FOUND.get_or_init(|| {
        // The numbers x + y·i with x and y modulo 3 and i² = −1; 1 + i generates all but 0.
        type Element = (usize, usize);
        let add = |a: Element, b: Element| ((a.0 + b.0) % 3, (a.1 + b.1) % 3);
        let multiply =
            |a: Element, b: Element| ((a.0 * b.0 + 2 * a.1 * b.1) % 3, (a.0 * b.1 + a.1 * b.0) % 3);
        let mut elements: Vec<Element> = vec![(0, 0), (1, 0)];
        while elements.len() < TILES {
            elements.push(multiply(elements[elements.len() - 1], (1, 1)));
        }
        let place = |element: Element| elements.iter().position(|e| *e == element).unwrap_or(0);
        let maps = elements[1..].iter().flat_map(|a| elements.iter().map(move |b| (*a, *b)));
        let permutation = |(a, b)| std::array::from_fn(|p| place(add(multiply(a, elements[p]), b)));
        maps.take(PERMUTATIONS).map(permutation).collect()
    })
}

/// Where cells and tiles lie in an image of `size`.
#[derive(Clone, Copy, Debug)]
struct Layout {
    size: usize,
    channels: usize,
    /// Pixels before the first cell: what 3 cells leave over is shared by both sides.
    margin: usize,
    /// Side of a cell.
    cell: usize,
    /// By how much a tile is smaller than its cell.
    gap: usize,
}

impl Layout {
    fn new(size: usize, channels: usize) -> Layout {
        let cell = size / GRID;
        let gap = (cell / 7).max(1).min(cell.saturating_sub(1));
        Layout { size, channels, margin: (size - GRID * cell) / 2, cell, gap }
    }

    /// Index of a pixel of cell `tile`.
    fn at(self, tile: usize, row: usize, column: usize) -> usize {
        let y = self.margin + tile / GRID * self.cell + row;
        let x = self.margin + tile % GRID * self.cell + column;
        (y * self.size + x) * self.channels
    }

    /// The image with its tiles moved; between them and around them it is 0, the image's mean.
    fn shuffled(self, image: &[f32], order: &[usize; TILES], rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut result = vec![0.0; image.len()];
        let side = self.cell - self.gap;
        let start = self.gap / 2;
        for (place, tile) in order.iter().enumerate() {
            let (top, left) = (rng.random_range(0..=self.gap), rng.random_range(0..=self.gap));
            for row in 0..side {
                let from = self.at(*tile, top + row, left);
                let to = self.at(place, start + row, start);
                let length = side * self.channels;
                result[to..to + length].copy_from_slice(&image[from..from + length]);
            }
        }
        result
    }
}

impl Task for Jigsaw {
    fn name(&self) -> &'static str {
        "jigsaw"
    }

    fn about(&self) -> &'static str {
        "tell in which of 30 orders the tiles of a 3×3 grid were put"
    }

    fn shares(&self) -> Shares {
        Shares::Encoder
    }

    fn tensors(&self, dims: Dims) -> Vec<(&'static str, Shape)> {
        vec![
            ("images", [dims.batch, dims.size, dims.size, dims.channels].into()),
            ("permutations", [dims.batch, 1, 1, 1].into()),
        ]
    }

    fn batch(&self, images: &[&[f32]], dims: Dims, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
        let layout = Layout::new(dims.size, dims.channels);
        let (mut inputs, mut labels) = (vec![], vec![]);
        for image in images {
            let label = rng.random_range(0..PERMUTATIONS);
            inputs.extend(layout.shuffled(image, &permutations()[label], rng));
            labels.push(label as f32);
        }
        vec![inputs, labels]
    }

    /// One convolution over the whole bottleneck, which a pooling first brings to 4 to 7 pixels a side
    /// where it is larger: what is where is the question, so it must not be averaged away.
    fn head(
        &self,
        layers: &mut Layers,
        tape: &mut Tape,
        features: Value,
        tensors: &[Value],
    ) -> Result<Head, TapeError> {
        let window = tape.shape(features).dims()[1] / POOLED;
        let pooled = if window > 1 { tape.max_pool2d(features, window, window, 0)? } else { features };
        let [side, channels] = [1, 3].map(|axis| tape.shape(pooled).dims()[axis]);
        let shape = [side, side, channels, PERMUTATIONS];
        let init = Init::HeLinear { fan_in: side * side * channels };
        let weight = layers.parameter(tape, "jigsaw.head.weight", shape, init)?;
        let bias = layers.bias(tape, "jigsaw.head", PERMUTATIONS)?;
        let logits = tape.conv2d(pooled, weight, Some(bias), Conv2d { stride: 1, padding: 0 })?;
        Ok(Head { loss: tape.cross_entropy(logits, tensors[1])?, prediction: logits })
    }

    fn metric(&self) -> Metric {
        ACCURACY
    }

    fn score(&self, tensors: &[Vec<f32>], prediction: &[f32], _dims: Dims) -> Score {
        accuracy(prediction, &tensors[1], PERMUTATIONS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{batch_of, check_batches, check_learns, one_hot};
    use super::*;
    use crate::rng::{Purpose, rng};

    #[test]
    fn batches_keep_to_the_rules() {
        check_batches(&Jigsaw);
    }

    #[test]
    fn it_is_learnt() {
        check_learns(&Jigsaw, 0.05, 0.8);
    }

    #[test]
    fn permutations_are_permutations_and_agree_at_one_place_at_most() {
        let all = permutations();
        assert_eq!(all.len(), PERMUTATIONS);
        assert_eq!(all[0], [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        for (i, a) in all.iter().enumerate() {
            let mut sorted = *a;
            sorted.sort_unstable();
            assert_eq!(sorted, all[0]);
            for b in &all[..i] {
                let distance = a.iter().zip(b).filter(|(a, b)| a != b).count();
                assert!(distance >= 8, "{a:?} and {b:?}");
            }
        }
    }

    /// The tiles of a batch, sought in the cells of the clean image.
    #[test]
    fn each_place_shows_the_tile_that_the_label_says() {
        for (size, channels) in [(16, 1), (24, 3), (64, 1), (70, 1)] {
            let dims = Dims { batch: 6, size, channels };
            let (clean, tensors) = batch_of(&Jigsaw, dims, 4);
            let layout = Layout::new(size, channels);
            let (side, start) = (layout.cell - layout.gap, layout.gap / 2);
            let inputs = tensors[0].chunks_exact(size * size * channels);
            for ((input, label), clean) in inputs.zip(&tensors[1]).zip(&clean) {
                for (place, tile) in permutations()[*label as usize].iter().enumerate() {
                    let same = |top: usize, left: usize| {
                        (0..side).all(|row| {
                            let found = layout.at(place, start + row, start);
                            let from = layout.at(*tile, top + row, left);
                            let length = side * channels;
                            input[found..found + length] == clean[from..from + length]
                        })
                    };
                    let jitters = (0..=layout.gap).flat_map(|y| (0..=layout.gap).map(move |x| (y, x)));
                    assert!(jitters.into_iter().any(|(y, x)| same(y, x)), "size {size}, place {place}");
                }
            }
        }
    }

    #[test]
    fn undoing_the_permutation_brings_every_tile_home() {
        // Each cell has one value, so that the jitter does not show.
        let layout = Layout::new(64, 1);
        let mut image = vec![0.0; 64 * 64];
        for tile in 0..TILES {
            for i in 0..layout.cell * layout.cell {
                image[layout.at(tile, i / layout.cell, i % layout.cell)] = 1.0 + tile as f32;
            }
        }
        for order in permutations() {
            let shuffled = layout.shuffled(&image, order, &mut rng(1, Purpose::Task, 0));
            let mut back = [0; TILES];
            order.iter().enumerate().for_each(|(place, tile)| back[*tile] = place);
            for (tile, place) in back.into_iter().enumerate() {
                let middle = layout.at(place, layout.cell / 2, layout.cell / 2);
                assert_eq!(shuffled[middle], 1.0 + tile as f32);
            }
        }
    }

    #[test]
    fn tiles_do_not_touch() {
        for size in [16, 32, 64, 128, 256] {
            let layout = Layout::new(size, 1);
            assert!(layout.gap >= 1 && layout.gap * 4 < layout.cell.max(5), "{layout:?}");
            let image = vec![1.0; size * size];
            let shuffled = layout.shuffled(&image, &permutations()[3], &mut rng(1, Purpose::Task, 0));
            let zeros = shuffled.iter().filter(|x| **x == 0.0).count();
            assert_eq!(zeros, size * size - TILES * (layout.cell - layout.gap).pow(2));
        }
    }

    #[test]
    fn a_perfect_answer_scores_1_and_a_guess_a_thirtieth() {
        let dims = Dims { batch: 4, size: 16, channels: 1 };
        let (_, tensors) = batch_of(&Jigsaw, dims, 2);
        let perfect = one_hot(&tensors[1], PERMUTATIONS);
        assert_eq!(Jigsaw.score(&tensors, &perfect, dims), Score { value: 1.0, trivial: 1.0 / 30.0 });
        assert_eq!(Jigsaw.score(&tensors, &vec![0.0; 4 * PERMUTATIONS], dims).value, 0.0);
    }

    #[test]
    fn a_large_bottleneck_is_pooled_to_a_small_grid() {
        let dims = Dims { batch: 1, size: 64, channels: 1 };
        for (side, expected) in [(1, 1), (4, 4), (7, 7), (8, 4), (14, 4), (64, 4)] {
            let config = crate::config::schema::ModelConfig::default();
            let mut layers = Layers::new(&config, crate::nn::Mode::Train);
            let mut tape = Tape::new();
            let features = tape.input("features", [1, side, side, 2]).unwrap();
            let tensors: Vec<Value> = Jigsaw
                .tensors(dims)
                .into_iter()
                .map(|(name, shape)| tape.input(name, shape).unwrap())
                .collect();
            Jigsaw.head(&mut layers, &mut tape, features, &tensors).unwrap();
            let weight = tape.named("jigsaw.head.weight").unwrap();
            assert_eq!(tape.shape(weight).dims(), [expected, expected, 2, PERMUTATIONS], "side {side}");
        }
    }
}
