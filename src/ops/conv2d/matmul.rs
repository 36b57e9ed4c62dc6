//! The matrix product that Winograd's way and im2col come down to, for software drivers with subgroups.

use crate::program::{Kernel, Lower, LowerError, Operand, Shader, Word};
use crate::shader;

static MATMUL: Shader = shader!("conv2d/matmul");

/// Rows and columns that a workgroup makes.
pub const SIDE: usize = 32;

/// Products `c [rows, columns] = a [rows, depth] · b [depth, columns]`.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// How many, one after the other in each operand.
    pub count: usize,
    /// Rows, columns, depth.
    pub sizes: [usize; 3],
    /// `a` is stored `[depth, rows]`.
    pub transposed: bool,
    /// Added to what is there.
    pub add: bool,
}

impl Default for Product {
    fn default() -> Product {
        Product { count: 1, sizes: [0; 3], transposed: false, add: false }
    }
}

/// Appends the products of operands `a`, `b` and `c`.
pub fn lower_matmul(lower: &mut Lower, product: Product, operands: [Operand; 3]) -> Result<(), LowerError> {
    let Product { count, sizes: [rows, columns, depth], transposed, add } = product;
    let kernel = Kernel::new(&MATMUL).with("TRANSPOSED", f64::from(u8::from(transposed)));
    let [x, y] = [rows, columns].map(|side| side.div_ceil(SIDE) as u32);
    let params = [rows, columns, depth, usize::from(add)].map(Word::from);
    lower.dispatch(kernel, &params, &operands, [x, y, count as u32])?;
    lower.does((rows * columns * depth) as u64);
    Ok(())
}
