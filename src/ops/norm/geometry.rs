//! The extents of a norm, shared by its forward and its gradients.

use super::Over;
use crate::program::Word;
use crate::tape::Shape;

/// Pixels that one invocation of an element-wise kernel does: what belongs to the channel is loaded
/// once for all of them.
const PIXELS: usize = 8;

/// The input as `[sets, pixels, channels]`: `group_size` neighbouring channels of a set share their
/// statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub sets: usize,
    pub pixels: usize,
    pub channels: usize,
    pub group_size: usize,
}

impl Geometry {
    pub fn new(over: Over, input: &Shape) -> Result<Geometry, String> {
        let channels = input.channels();
        match over {
            Over::Batch => Ok(Geometry { sets: 1, pixels: input.pixels(), channels, group_size: 1 }),
            Over::Groups(groups) => {
                let [batch, height, width, channels] = input.nhwc()?;
                if groups == 0 || !channels.is_multiple_of(groups) {
                    return Err(format!("{channels} channels do not make {groups} groups"));
                }
                Ok(Geometry { sets: batch, pixels: height * width, channels, group_size: channels / groups })
            }
        }
    }

    /// Shape of `rows` numbers for each channel of each set.
    pub fn rows(&self, rows: usize) -> Shape {
        [self.sets, rows, self.channels].into()
    }

    /// The row of element `index` of a `[sets, rows, channels]` result.
    pub fn row_of(shape: &Shape, index: usize) -> usize {
        index / shape.channels() % shape.dims().get(1).copied().unwrap_or(1).max(1)
    }

    pub fn expect_rows(&self, what: &str, shape: &Shape, rows: usize) -> Result<(), String> {
        let expected = self.rows(rows);
        if *shape == expected { Ok(()) } else { Err(format!("expected {what} {expected}, found {shape}")) }
    }

    /// How an element-wise kernel with `width` channels an invocation spreads: its first params
    /// `sets, pixels, channels, threads`, and its invocations.
    pub fn spread(&self, width: usize) -> ([Word; 4], usize) {
        self.spread_over(self.pixels.div_ceil(PIXELS), width)
    }

    /// The same with `threads` invocations for each channel of a set.
    pub fn spread_over(&self, threads: usize, width: usize) -> ([Word; 4], usize) {
        let columns = self.channels / width;
        ([self.sets, self.pixels, columns, threads].map(Word::from), self.sets * threads * columns)
    }
}
