//! The extents of a tensor. Images are channels-last: `[batch, height, width, channels]` (NHWC).

use std::fmt;

/// Extents of a dense row-major f32 tensor.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Shape(Vec<usize>);

impl Shape {
    pub fn new(dims: impl Into<Vec<usize>>) -> Shape {
        Shape(dims.into())
    }

    /// The shape of a single number: `[1]`.
    pub fn scalar() -> Shape {
        Shape(vec![1])
    }

    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.0.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of its f32 elements, rounded up to whole `vec4<f32>`s, which kernels may read and write.
    pub fn padded_bytes(&self) -> u64 {
        (self.len() as u64 * 4).next_multiple_of(16)
    }

    /// Extent of the last axis: the channels.
    pub fn channels(&self) -> usize {
        self.0.last().copied().unwrap_or(1)
    }

    /// Number of elements of one channel: all axes but the last.
    pub fn pixels(&self) -> usize {
        self.0[..self.0.len().saturating_sub(1)].iter().product()
    }

    /// `[batch, height, width, channels]`, or an error that says what it is instead.
    pub fn nhwc(&self) -> Result<[usize; 4], String> {
        <[usize; 4]>::try_from(self.0.as_slice())
            .map_err(|_| format!("expected [batch, height, width, channels], found {self}"))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Shape {
        Shape(dims.to_vec())
    }
}
