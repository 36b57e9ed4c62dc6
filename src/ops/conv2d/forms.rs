//! The forms in which a convolution and its gradients can be computed: which there are, and which is taken where
//! nothing was measured.
//!
//! A list begins with the form that the rule takes; the others are what `wgseg tune` measures beside it. Each is
//! right wherever it is listed: they differ in speed, and in the order of their sums.

use std::fmt;

use super::geometry::Geometry;
use super::kernels::{Direction, params, patch};
use super::{im2col, winograd};
use crate::program::{Caps, Family, Kernel, Matrices};

/// Workgroups that the weight's gradient is split over, so that every core has work: a fixed number, so that its
/// sums have one order everywhere.
const SPLIT_GROUPS: usize = 64;
/// Workgroups that the kernels of a [`Tile`] aim at: their threads are fewer, and a GPU's cores are many.
const TILED_GROUPS: usize = 256;
/// Largest side of a kernel that the tiled convolutions take: they keep a bit for each of its rows, of 16, and ask
/// for rows past the last, up to 7 of them.
const TILED_KERNEL: usize = 9;

/// How a convolution is computed, or the gradient of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvForm {
    Naive,
    Tiled(Tile),
    /// For channels that are no multiples of 4.
    TiledAny(Columns),
    /// For an input in f16.
    Matrix(MatrixTile),
    /// With subgroups: so many blocks of 8×8 pixels a workgroup.
    Cpu(usize),
    CpuPlain,
    /// For channels that are no multiples of 4.
    CpuAny,
    Winograd(Portion),
    /// Without a bias.
    Im2col,
}

impl ConvForm {
    /// All that compute this here, the rule's first. `half`: the input is f16; `bias`: one is added.
    pub fn all(caps: &Caps, g: &Geometry, direction: Direction, half: bool, bias: bool) -> Vec<ConvForm> {
        let [batch, _, _, _, height, width, channels, ..] = params(g, direction);
        let quads = in_quads(g);
        let tiled = is_tiled(g);
        let strided = g.stride != 1;
        let gathers = !strided || direction == Direction::Forward;
        let mut forms = vec![];
        match caps.family {
            Family::Tiled if tiled && quads => {
                let rows = batch * height * width;
                if half {
                    forms.extend(MatrixTile::of(caps, rows, channels).into_iter().map(ConvForm::Matrix));
                }
                let tile = Tile::of(rows, channels);
                forms.extend(tile.and_others(channels).map(ConvForm::Tiled));
            }
            Family::Tiled if tiled => {
                forms.extend(Columns::holding(channels).and_others(channels).map(ConvForm::TiledAny));
            }
            Family::Cpu => {
                let portions = Portion::all(caps, g, [height, width], &winograd::SCRATCH);
                let winograd = portions.into_iter().map(ConvForm::Winograd);
                let pays = winograd::pays(g, [height, width]) && winograd.clone().next().is_some();
                forms.extend(winograd.clone().filter(|_| pays));
                let im2col = !bias && im2col::is_possible(caps, g, [height, width]);
                let first = !pays && im2col::pays(g);
                forms.extend((im2col && first).then_some(ConvForm::Im2col));
                if quads && caps.subgroups && (patch(g).is_some() || !strided && is_small(g) && can_mirror(g))
                {
                    // Two share the loads of weights, and take twice as long to compile.
                    forms.extend([1, 2].map(ConvForm::Cpu));
                }
                if gathers {
                    forms.push(if quads { ConvForm::CpuPlain } else { ConvForm::CpuAny });
                }
                forms.extend(winograd.filter(|_| !pays));
                forms.extend((im2col && !first).then_some(ConvForm::Im2col));
            }
            Family::Naive | Family::Tiled => {}
        }
        // The others make four channels at a time.
        if forms.is_empty() || channels < 4 {
            forms.push(ConvForm::Naive);
        }
        forms
    }
}

impl fmt::Display for ConvForm {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ConvForm::Naive => f.write_str("naive"),
            ConvForm::Tiled(tile) => write!(f, "tiled {tile}"),
            ConvForm::TiledAny(columns) => write!(f, "tiled any {columns}"),
            ConvForm::Matrix(tile) => write!(f, "matrix {tile}"),
            ConvForm::Cpu(blocks) => write!(f, "cpu by {blocks}"),
            ConvForm::CpuPlain => f.write_str("cpu plain"),
            ConvForm::CpuAny => f.write_str("cpu any"),
            ConvForm::Winograd(portion) => write!(f, "winograd {portion}"),
            ConvForm::Im2col => f.write_str("im2col"),
        }
    }
}

/// How the gradient of the weight is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradWeightForm {
    Naive,
    /// The pixels in so many parts, whose sums are added at last.
    Split(SplitKernel, usize),
    Winograd(Portion),
    Im2col,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitKernel {
    Tiled(Tile),
    /// For channels that are no multiples of 4.
    TiledAny(Columns),
    /// For an input and a gradient in f16, channels multiples of the matrices' side.
    Matrix(MatrixTile),
    /// With subgroups.
    Cpu,
    CpuPlain,
    /// For channels that are no multiples of 4.
    CpuAny,
}

impl GradWeightForm {
    /// All that compute this here, the rule's first. `half`: the input and the gradient are f16.
    pub fn all(caps: &Caps, g: &Geometry, half: bool) -> Vec<GradWeightForm> {
        let quads = in_quads(g);
        let out = g.out_channels;
        let mut kernels = vec![];
        let mut winograd = vec![];
        let im2col = im2col::is_possible(caps, g, g.out_size).then_some(GradWeightForm::Im2col);
        match caps.family {
            Family::Tiled if quads => {
                if half && is_tiled(g) {
                    let tiles = MatrixTile::holding(caps, out).into_iter();
                    let whole = |t: &MatrixTile| {
                        g.in_channels.is_multiple_of(t.matrices.side) && out.is_multiple_of(t.matrices.side)
                    };
                    kernels.extend(tiles.filter(whole).map(SplitKernel::Matrix));
                }
                kernels.extend(Tile::holding(out).and_others(out).map(SplitKernel::Tiled));
            }
            Family::Tiled => {
                kernels.extend(Columns::holding(out).and_others(out).map(SplitKernel::TiledAny));
            }
            Family::Cpu if quads => {
                winograd = Portion::all(caps, g, g.out_size, &winograd::SCRATCH_GRAD_WEIGHT);
                kernels.push(SplitKernel::CpuPlain);
                if g.stride == 1 && is_small(g) && caps.subgroups {
                    // A 1×1 kernel has too few sums for what it loads.
                    let at = usize::from(g.kernel == [1, 1]);
                    kernels.insert(at, SplitKernel::Cpu);
                }
            }
            Family::Cpu if g.kernel[1] <= 3 => kernels.push(SplitKernel::CpuAny),
            Family::Naive | Family::Cpu => {}
        }
        let split = kernels.into_iter().flat_map(|kernel| kernel.all_splits(caps, g));
        let winograd = winograd.into_iter().map(GradWeightForm::Winograd);
        let mut forms: Vec<GradWeightForm> = match (im2col::pays(g), winograd::pays_grad_weight(g)) {
            (true, _) => im2col.into_iter().chain(winograd).chain(split).collect(),
            (false, true) => winograd.chain(split).chain(im2col).collect(),
            (false, false) => split.chain(winograd).chain(im2col).collect(),
        };
        if forms.is_empty() {
            forms.push(GradWeightForm::Naive);
        }
        forms
    }
}

impl SplitKernel {
    /// Workgroups of one part in x and y, and the most parts there are.
    pub fn groups(self, g: &Geometry) -> ([usize; 2], usize) {
        let [height, width] = g.out_size;
        let (rows, pixels) = (g.batch * height, g.batch * height * width);
        let [kernel_h, kernel_w] = g.kernel;
        // Of one output channel.
        let weights = kernel_h * kernel_w * g.in_channels;
        let out = g.out_channels;
        match self {
            SplitKernel::Tiled(tile) => {
                ([weights.div_ceil(tile.rows()), out.div_ceil(tile.channels())], pixels.div_ceil(64))
            }
            SplitKernel::TiledAny(columns) => {
                ([weights.div_ceil(columns.rows()), out.div_ceil(columns.channels())], pixels.div_ceil(32))
            }
            SplitKernel::Matrix(tile) => {
                ([weights.div_ceil(tile.rows()), out.div_ceil(tile.channels())], pixels.div_ceil(64))
            }
            SplitKernel::Cpu => {
                let pairs = (g.batch * width.div_ceil(8)).div_ceil(2);
                ([g.in_channels / 4, out.div_ceil(16)], pairs)
            }
            SplitKernel::CpuPlain => {
                let threads = kernel_h * kernel_w * g.in_channels.div_ceil(8) * out.div_ceil(8);
                ([threads.div_ceil(8), 1], rows)
            }
            SplitKernel::CpuAny => {
                let threads = kernel_h * g.in_channels * out.div_ceil(4);
                ([threads.div_ceil(8), 1], rows)
            }
        }
    }

    /// With the rule's number of parts first, then with others.
    fn all_splits(self, caps: &Caps, g: &Geometry) -> Vec<GradWeightForm> {
        let many = matches!(self, SplitKernel::Tiled(_) | SplitKernel::Matrix(_));
        let aim = if many { TILED_GROUPS } else { SPLIT_GROUPS };
        let ([x, y], most) = self.groups(g);
        let most = most.min(caps.max_workgroups as usize);
        let mut forms = vec![];
        for groups in [aim, aim / 4, aim / 2, 2 * aim, 4 * aim] {
            let splits = groups.div_ceil(x * y).min(most).max(1);
            let fits = 4 * (splits * g.weight().len()) as u64 <= caps.max_binding_bytes;
            let form = GradWeightForm::Split(self, splits);
            if forms.is_empty() || fits && !forms.contains(&form) {
                forms.push(form);
            }
        }
        forms
    }
}

impl fmt::Display for GradWeightForm {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (kernel, splits) = match self {
            GradWeightForm::Naive => return f.write_str("naive"),
            GradWeightForm::Winograd(portion) => return write!(f, "winograd {portion}"),
            GradWeightForm::Im2col => return f.write_str("im2col"),
            GradWeightForm::Split(kernel, splits) => (kernel, splits),
        };
        match kernel {
            SplitKernel::Tiled(tile) => write!(f, "tiled {tile} ")?,
            SplitKernel::TiledAny(columns) => write!(f, "tiled any {columns} ")?,
            SplitKernel::Matrix(tile) => write!(f, "matrix {tile} ")?,
            SplitKernel::Cpu => f.write_str("cpu ")?,
            SplitKernel::CpuPlain => f.write_str("cpu plain ")?,
            SplitKernel::CpuAny => f.write_str("cpu any ")?,
        }
        write!(f, "in {splits}")
    }
}

/// Whether channels can be read and written four at a time.
fn in_quads(g: &Geometry) -> bool {
    g.in_channels.is_multiple_of(4) && g.out_channels.is_multiple_of(4)
}

fn is_tiled(g: &Geometry) -> bool {
    g.kernel.iter().all(|side| *side <= TILED_KERNEL)
}

/// Whether the gradient of the input is itself a convolution, of mirrored weights and some padding.
fn can_mirror(g: &Geometry) -> bool {
    g.kernel.iter().all(|side| g.padding < *side)
}

fn is_small(g: &Geometry) -> bool {
    g.kernel.iter().all(|side| *side <= 3)
}

/// What a workgroup of the tiled kernels computes of a matrix product: rows (pixels, or weights of one output
/// channel) by channels. Its 128 threads are `columns` wide and have 8 rows by `quads` vec4s each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    pub columns: usize,
    pub quads: usize,
}

impl Tile {
    /// More columns, or quads, and it takes more workgroup memory, or registers, than there are.
    const ALL: [Tile; 5] =
        [Tile::new(2, 1), Tile::new(4, 1), Tile::new(4, 2), Tile::new(8, 1), Tile::new(8, 2)];

    const fn new(columns: usize, quads: usize) -> Tile {
        Tile { columns, quads }
    }

    /// The smallest of three that holds all channels, at most 64.
    fn holding(channels: usize) -> Tile {
        match channels {
            ..=16 => Tile::new(4, 1),
            17..=32 => Tile::new(8, 1),
            _ => Tile::new(8, 2),
        }
    }

    /// That of `rows` by `channels`: half as wide where the device would have too few workgroups.
    fn of(rows: usize, channels: usize) -> Tile {
        let tile = Tile::holding(channels);
        let groups = rows.div_ceil(tile.rows()) * channels.div_ceil(tile.channels());
        if groups < TILED_GROUPS { Tile { quads: 1, ..tile } } else { tile }
    }

    /// This one, then the others of which less than half would lie idle.
    fn and_others(self, channels: usize) -> impl Iterator<Item = Tile> {
        let others = Tile::ALL.into_iter().filter(move |t| *t != self && t.channels() < 2 * channels);
        std::iter::once(self).chain(others)
    }

    pub fn rows(self) -> usize {
        8 * 128 / self.columns
    }

    pub fn channels(self) -> usize {
        4 * self.quads * self.columns
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}x{}", self.rows(), self.channels())
    }
}

/// Columns of four channels in a tile of the kernels for any channels, whose 256 threads have 4 rows each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns(pub usize);

impl Columns {
    /// The fewest that hold all channels, at most 16.
    fn holding(channels: usize) -> Columns {
        Columns(channels.div_ceil(4).next_power_of_two().clamp(4, 16))
    }

    /// These, then the others of which less than half would lie idle.
    fn and_others(self, channels: usize) -> impl Iterator<Item = Columns> {
        let all = [4, 8, 16].map(Columns).into_iter();
        let others = all.filter(move |c| *c != self && c.channels() < 2 * channels);
        std::iter::once(self).chain(others)
    }

    pub fn rows(self) -> usize {
        1024 / self.0
    }

    pub fn channels(self) -> usize {
        4 * self.0
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}x{}", self.rows(), self.channels())
    }
}

/// What a workgroup of the kernels of cooperative matrices computes of a matrix product: each of its subgroups two
/// matrices below each other, `columns` side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixTile {
    pub matrices: Matrices,
    pub columns: usize,
}

impl MatrixTile {
    /// More take more workgroup memory than there is.
    const MOST_COLUMNS: usize = 4;

    /// The one that holds all channels, or the widest, then narrower ones. None where the device has no matrices, or
    /// one would be half idle.
    fn holding(caps: &Caps, channels: usize) -> Vec<MatrixTile> {
        let Some(matrices) = caps.matrices.filter(|m| 2 * channels > m.side) else { return vec![] };
        let most = channels.div_ceil(matrices.side).min(MatrixTile::MOST_COLUMNS);
        (1..=most).rev().map(|columns| MatrixTile { matrices, columns }).collect()
    }

    /// Those for `rows` by `channels`: the first half as wide where the device would have too few workgroups.
    fn of(caps: &Caps, rows: usize, channels: usize) -> Vec<MatrixTile> {
        let mut tiles = MatrixTile::holding(caps, channels);
        let groups = |t: &MatrixTile| rows.div_ceil(t.rows()) * channels.div_ceil(t.channels());
        if tiles.first().is_some_and(|widest| groups(widest) < TILED_GROUPS) {
            let half = tiles.len() / 2;
            tiles[..=half].rotate_right(1);
        }
        tiles
    }

    pub fn rows(self) -> usize {
        2 * self.matrices.side * self.matrices.subgroups as usize
    }

    pub fn channels(self) -> usize {
        self.columns * self.matrices.side
    }

    /// The kernel with its constants.
    pub fn kernel(self, kernel: Kernel) -> Kernel {
        kernel
            .with("LANES", self.matrices.lanes)
            .with("SUBGROUPS", self.matrices.subgroups)
            .with("COLUMNS", self.columns as f64)
    }
}

impl fmt::Display for MatrixTile {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}x{}", self.rows(), self.channels())
    }
}

/// Tiles of 4×4 results that Winograd's way transforms at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion(pub usize);

impl Portion {
    /// The rule's first, then others; none where this is no way to compute it. `size` is that of the tiled image,
    /// `scratch` the numbers to hold at a time.
    fn all(caps: &Caps, g: &Geometry, size: [usize; 2], scratch: &[usize]) -> Vec<Portion> {
        let mut portions = vec![];
        for tiles in winograd::portions(caps, g, size, scratch) {
            if !portions.contains(&Portion(tiles)) {
                portions.push(Portion(tiles));
            }
        }
        portions
    }
}

impl fmt::Display for Portion {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "by {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(family: Family, subgroups: bool) -> Caps {
        Caps { family, subgroups, ..Caps::default() }
    }

    /// `[batch, side, in, out, kernel, stride, padding]`.
    fn geometry([batch, side, inside, out, kernel, stride, padding]: [usize; 7]) -> Geometry {
        let (input, weight) = ([batch, side, side, inside].into(), [kernel, kernel, inside, out].into());
        Geometry::forward(&input, &weight, stride, padding).unwrap()
    }

    /// What the rule takes for a convolution, its input's gradient and its weight's.
    #[track_caller]
    fn rule(family: Family, subgroups: bool, of: [usize; 7], expected: [&str; 3]) {
        let (caps, g) = (caps(family, subgroups), geometry(of));
        let [forward, grad_input] = [Direction::Forward, Direction::GradInput]
            .map(|direction| ConvForm::all(&caps, &g, direction, false, false)[0].to_string());
        assert_eq!(
            [forward, grad_input, GradWeightForm::all(&caps, &g, false)[0].to_string()],
            expected,
            "{g}"
        );
    }

    #[test]
    fn on_a_gpu_the_rule_holds_all_channels_and_has_256_workgroups() {
        let tiled = |of, expected| rule(Family::Tiled, false, of, expected);
        // 256 pixels by 16 channels; 144 weights make one row of tiles, which 256 parts make many.
        tiled([8, 128, 16, 16, 3, 1, 1], ["tiled 256x16", "tiled 256x16", "tiled 256x16 in 256"]);
        // The gradient of the input makes 32 channels, of the weight 64 in 3 rows: 256 / 3 parts.
        tiled([8, 64, 32, 64, 3, 1, 1], ["tiled 128x64", "tiled 128x32", "tiled 128x64 in 86"]);
        // 512 pixels are 4 tiles, and 256 channels 4: too few workgroups for wide ones.
        tiled([8, 8, 256, 256, 3, 1, 1], ["tiled 128x32", "tiled 128x32", "tiled 128x64 in 4"]);
        tiled([8, 128, 1, 16, 3, 1, 1], ["tiled any 256x16", "tiled any 256x16", "tiled any 256x16 in 64"]);
        tiled([1, 7, 4, 4, 11, 1, 5], ["naive", "naive", "tiled 256x16 in 1"]);
    }

    #[test]
    fn on_a_cpu_the_rule_goes_by_channels_strides_and_subgroups() {
        let cpu = |subgroups, of, expected| rule(Family::Cpu, subgroups, of, expected);
        // A workgroup makes 4 input by 16 output channels, so 4 make all: 64 / 4 parts.
        cpu(true, [8, 128, 16, 16, 3, 1, 1], ["cpu by 1", "cpu by 1", "cpu in 16"]);
        // Of 64 channels on each side 1 << 18 numbers hold 113 tiles, in whole 32s 96; 1 << 20 hold 455; of 32², 512
        // are all.
        cpu(true, [8, 32, 64, 64, 3, 1, 1], ["winograd by 96", "winograd by 96", "winograd by 448"]);
        cpu(true, [8, 32, 32, 32, 3, 1, 1], ["winograd by 224", "winograd by 224", "winograd by 512"]);
        cpu(true, [8, 32, 16, 32, 3, 1, 1], ["cpu by 1", "cpu by 1", "winograd by 512"]);
        // At most 256 pixels, if there are channels enough.
        cpu(true, [1, 16, 64, 64, 3, 1, 1], ["im2col"; 3]);
        cpu(true, [8, 4, 512, 512, 3, 1, 1], ["im2col"; 3]);
        cpu(true, [17, 4, 64, 64, 3, 1, 1], ["winograd by 17"; 3]);
        cpu(true, [8, 4, 16, 64, 3, 1, 1], ["cpu by 1", "cpu by 1", "winograd by 8"]);
        cpu(false, [8, 32, 64, 64, 3, 1, 1], ["cpu plain", "cpu plain", "cpu plain in 1"]);
        cpu(true, [2, 10, 8, 16, 2, 2, 0], ["cpu by 1", "cpu by 1", "cpu plain in 10"]);
        cpu(false, [2, 10, 8, 16, 2, 2, 0], ["cpu plain", "naive", "cpu plain in 10"]);
        cpu(true, [2, 9, 16, 20, 1, 1, 0], ["cpu by 1", "cpu by 1", "cpu plain in 18"]);
        cpu(true, [2, 9, 8, 8, 3, 2, 1], ["cpu plain", "naive", "cpu plain in 10"]);
        cpu(true, [2, 9, 3, 5, 3, 1, 1], ["cpu any", "cpu any", "cpu any in 18"]);
        cpu(true, [2, 9, 3, 5, 5, 1, 2], ["cpu any", "cpu any", "naive"]);
        rule(Family::Naive, true, [8, 32, 64, 64, 3, 1, 1], ["naive", "naive", "naive"]);
    }

    #[test]
    fn subgroups_that_may_be_smaller_stand_alone_and_odd_ones_have_no_kernels() {
        let subgroups = |least, most| Matrices::of(16, least, most).map(|m| (m.lanes, m.subgroups));
        assert_eq!(subgroups(32, 32), Some((32, 4)));
        assert_eq!(subgroups(128, 128), Some((128, 2)));
        assert_eq!(subgroups(32, 64), Some((64, 1)));
        for (least, most) in [(0, 0), (4, 4), (24, 24), (256, 256)] {
            assert_eq!(subgroups(least, most), None);
        }
    }

    #[test]
    fn of_f16_the_rule_takes_matrices_where_there_are_some() {
        let with = |side, lanes, subgroups| Caps {
            matrices: Some(Matrices { side, lanes, subgroups }),
            ..caps(Family::Tiled, false)
        };
        let first = |caps: &Caps, of, half| {
            let g = geometry(of);
            [
                ConvForm::all(caps, &g, Direction::Forward, half, false)[0].to_string(),
                GradWeightForm::all(caps, &g, half)[0].to_string(),
            ]
        };
        let tensor_cores = with(16, 32, 4);
        // 1024 workgroups of 128 pixels; 288 weights are 3 rows, so 86 parts.
        let wide = [8, 128, 32, 64, 3, 1, 1];
        assert_eq!(first(&tensor_cores, wide, true), ["matrix 128x64", "matrix 128x64 in 86"]);
        assert_eq!(first(&tensor_cores, wide, false), ["tiled 128x64", "tiled 128x64 in 86"]);
        assert_eq!(first(&caps(Family::Tiled, false), wide, true), ["tiled 128x64", "tiled 128x64 in 86"]);
        // 64 pixels: too few workgroups for wide ones.
        assert_eq!(first(&tensor_cores, [1, 8, 64, 64, 3, 1, 1], true)[0], "matrix 128x32");
        // One subgroup, of up to 64 lanes.
        assert_eq!(first(&with(16, 64, 1), wide, true)[0], "matrix 32x64");
        // 24 channels are no multiple of 16, which the gradient of the weight needs; 8 are half a matrix.
        assert_eq!(
            first(&tensor_cores, [8, 128, 24, 24, 3, 1, 1], true),
            ["matrix 128x32", "tiled 128x32 in 128"]
        );
        assert_eq!(first(&tensor_cores, [8, 128, 16, 8, 3, 1, 1], true)[0], "tiled 256x16");
    }

    #[test]
    fn each_form_is_listed_once_by_a_name_of_its_own() {
        for family in [Family::Naive, Family::Tiled, Family::Cpu] {
            for channels in [1, 3, 4, 12, 16, 32, 64, 100, 512] {
                let (caps, g) = (caps(family, true), geometry([2, 33, channels, channels, 3, 1, 1]));
                let all = |forms: Vec<String>| {
                    let names: std::collections::HashSet<&String> = forms.iter().collect();
                    assert_eq!(names.len(), forms.len(), "{forms:?}");
                };
                for direction in [Direction::Forward, Direction::GradInput] {
                    all(ConvForm::all(&caps, &g, direction, false, false)
                        .iter()
                        .map(ConvForm::to_string)
                        .collect());
                }
                all(GradWeightForm::all(&caps, &g, false).iter().map(GradWeightForm::to_string).collect());
            }
        }
    }
}
