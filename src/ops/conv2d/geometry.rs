//! The extents of a convolution, shared by its forward, its gradients and its transpose.

use std::fmt;

use crate::tape::Shape;

/// A convolution from `[batch, in_h, in_w, in_channels]` to `[batch, out_h, out_w, out_channels]`
/// with weights `[kernel_h, kernel_w, in_channels, out_channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub batch: usize,
    pub in_size: [usize; 2],
    pub out_size: [usize; 2],
    pub in_channels: usize,
    pub out_channels: usize,
    pub kernel: [usize; 2],
    pub stride: usize,
    pub padding: usize,
}

impl Geometry {
    /// From the input's and the weight's shape.
    pub fn forward(input: &Shape, weight: &Shape, stride: usize, padding: usize) -> Result<Geometry, String> {
        let [batch, in_h, in_w, in_channels] = input.nhwc()?;
        let [kernel_h, kernel_w, weight_in, out_channels] = weight_dims(weight)?;
        if weight_in != in_channels {
            return Err(format!(
                "the input has {in_channels} channels, the weight {weight} takes {weight_in}"
            ));
        }
        if stride == 0 {
            return Err("stride is 0".to_owned());
        }
        let extent = |size: usize, kernel: usize| {
            let padded = size + 2 * padding;
            if kernel == 0 || padded < kernel {
                return Err(format!("a kernel of {kernel} does not fit into {size} + 2·{padding}"));
            }
            Ok((padded - kernel) / stride + 1)
        };
        let out_size = [extent(in_h, kernel_h)?, extent(in_w, kernel_w)?];
        Ok(Geometry {
            batch,
            in_size: [in_h, in_w],
            out_size,
            in_channels,
            out_channels,
            kernel: [kernel_h, kernel_w],
            stride,
            padding,
        })
    }

    /// Of the convolution that a transposed convolution reverses: its output is `input`, the
    /// transposed convolution's input, and its weight is `[kernel_h, kernel_w, out, in]` in the
    /// terms of the transposed one.
    pub fn transposed(
        input: &Shape,
        weight: &Shape,
        stride: usize,
        padding: usize,
    ) -> Result<Geometry, String> {
        let [batch, in_h, in_w, channels] = input.nhwc()?;
        let [kernel_h, kernel_w, out_channels, weight_in] = weight_dims(weight)?;
        if weight_in != channels {
            return Err(format!("the input has {channels} channels, the weight {weight} takes {weight_in}"));
        }
        if stride == 0 {
            return Err("stride is 0".to_owned());
        }
        let extent = |size: usize, kernel: usize| {
            let full = (size.max(1) - 1) * stride + kernel;
            if full <= 2 * padding {
                return Err(format!("padding {padding} leaves nothing of {full}"));
            }
            Ok(full - 2 * padding)
        };
        Ok(Geometry {
            batch,
            in_size: [extent(in_h, kernel_h)?, extent(in_w, kernel_w)?],
            out_size: [in_h, in_w],
            in_channels: out_channels,
            out_channels: channels,
            kernel: [kernel_h, kernel_w],
            stride,
            padding,
        })
    }

    pub fn input(&self) -> Shape {
        [self.batch, self.in_size[0], self.in_size[1], self.in_channels].into()
    }

    pub fn output(&self) -> Shape {
        [self.batch, self.out_size[0], self.out_size[1], self.out_channels].into()
    }

    pub fn weight(&self) -> Shape {
        [self.kernel[0], self.kernel[1], self.in_channels, self.out_channels].into()
    }

    pub fn out_pixels(&self) -> usize {
        self.batch * self.out_size[0] * self.out_size[1]
    }

    /// Multiply-adds counted as two; the same for the forward and both gradients.
    pub fn flops(&self) -> u64 {
        2 * self.out_pixels() as u64 * self.weight().len() as u64
    }

    /// Terms of the sum in one element of the result, of the input's and of the weight's gradient.
    pub fn forward_terms(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.in_channels
    }

    pub fn grad_input_terms(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.out_channels
    }
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let image =
            |[height, width]: [usize; 2], channels| format!("{}x{height}x{width}x{channels}", self.batch);
        let [kernel_h, kernel_w] = self.kernel;
        write!(
            f,
            "{} → {} by {kernel_h}x{kernel_w}",
            image(self.in_size, self.in_channels),
            image(self.out_size, self.out_channels)
        )?;
        write!(f, " stride {} padding {}", self.stride, self.padding)
    }
}

fn weight_dims(weight: &Shape) -> Result<[usize; 4], String> {
    <[usize; 4]>::try_from(weight.dims())
        .map_err(|_| format!("expected a weight [kernel_h, kernel_w, in, out], found {weight}"))
}
