//! NIfTI volumes: `.nii` and `.nii.gz`, of two dimensions or three.
//!
//! The first dimension is the width, the second the height, the third counts slices, as they are stored: nothing is
//! turned by the affine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use nifti::{DataElement, InMemNiftiVolume, NiftiHeader, NiftiObject, NiftiType, ReaderOptions};

use super::decode::Raw;
use super::error::{DataError, Problem};
use super::header::{Format, Header, MAX_PIXELS, MAX_SIDE};

/// Voxels of a volume at most: 2 GiB while it is read.
const MAX_VOXELS: u64 = 1 << 28;

/// Whether the name ends in `.nii` or `.nii.gz`.
pub(super) fn is_nifti(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    name.ends_with(".nii") || name.ends_with(".nii.gz")
}

pub(super) struct Volume {
    pub width: usize,
    pub height: usize,
    /// Slices.
    pub depth: usize,
    /// `[depth, height, width]`, after slope and intercept.
    pub values: Vec<f64>,
    /// The rows that say where a voxel lies.
    affine: Affine,
    /// Whether the file tells that by sform or qform.
    pub placed: bool,
}

type Affine = [[f64; 4]; 3];

impl Volume {
    /// Reads a file.
    ///
    /// # Errors
    /// It is missing, damaged, cut short, too large, of other dimensions or of values that are no real numbers.
    pub fn read(path: &Path) -> Result<Volume, DataError> {
        let bad = |e: nifti::NiftiError| match e {
            nifti::NiftiError::Io(e) if e.kind() == std::io::ErrorKind::NotFound => DataError::io(path, &e),
            other => DataError::at(path, Problem::Nifti { message: other.to_string() }),
        };
        // The crate knows compressed files by an ending in small letters only.
        let copy = match path.extension() {
            Some(ending) if ending.eq_ignore_ascii_case("gz") && ending != "gz" => Some(renamed(path)?),
            _ => None,
        };
        let path_read = copy.as_ref().map_or(path, |copy| copy.path());
        // Before anything is read: a header can ask for any amount of memory.
        let header = NiftiHeader::from_file(path_read).map_err(bad)?;
        let [width, height, depth] =
            sides(&header).map_err(|problem| DataError::at(path, problem))?.map(usize::from);
        let object = ReaderOptions::new().read_file(path_read).map_err(bad)?;
        let mut values = values(object.into_volume(), &header).map_err(bad)?;
        // A slope of 0 says that there is none.
        let (slope, inter) = (f64::from(header.scl_slope), f64::from(header.scl_inter));
        if slope != 0.0 && slope.is_finite() && inter.is_finite() && (slope, inter) != (1.0, 0.0) {
            values.iter_mut().for_each(|v| *v = *v * slope + inter);
        }
        let (affine, placed) = (affine(&header), header.sform_code > 0 || header.qform_code > 0);
        Ok(Volume { width, height, depth, values, affine, placed })
    }

    /// Whether voxels of the same place in both files lie on each other.
    pub fn lies_on(&self, other: &Volume) -> bool {
        // How far slices lie apart says nothing of a single one.
        let columns: &[usize] = if self.depth == 1 { &[0, 1, 3] } else { &[0, 1, 2, 3] };
        let near = |(a, b): (&[f64; 4], &[f64; 4])| columns.iter().all(|&c| (a[c] - b[c]).abs() <= 1e-2);
        self.affine.iter().zip(&other.affine).all(near)
    }

    /// The one slice of a file as [`Volume::picture`] gives it.
    ///
    /// # Errors
    /// As [`Volume::read`]; there are several slices, or no value is finite.
    pub fn read_picture(path: &Path) -> Result<Raw, DataError> {
        let bad = |message: &str| DataError::at(path, Problem::Nifti { message: message.into() });
        // A decoder that panics on a damaged file must not take the run down.
        let volume = catch_unwind(AssertUnwindSafe(|| Volume::read(path)))
            .unwrap_or_else(|_| Err(bad("the decoder failed on it")))?;
        if volume.depth != 1 {
            return Err(DataError::at(path, Problem::NiftiSlices { slices: volume.depth }));
        }
        let range = volume.range().ok_or_else(|| bad("no value is finite"))?;
        Ok(volume.picture(0, range))
    }

    /// The values of a slice, `[height, width]`.
    pub fn slice(&self, index: usize) -> &[f64] {
        let pixels = self.width * self.height;
        &self.values[index * pixels..(index + 1) * pixels]
    }

    /// Least and largest value; none when none is finite.
    pub fn range(&self) -> Option<(f64, f64)> {
        let finite = self.values.iter().copied().filter(|v| v.is_finite());
        finite.fold(None, |range, v| {
            Some(range.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v))))
        })
    }

    /// A slice as 16 bit grey, with 0 and 65535 for the ends of `range`, that of the volume; what is not finite is 0.
    pub fn picture(&self, index: usize, (low, high): (f64, f64)) -> Raw {
        let white = f64::from(u16::MAX);
        let scale = if high > low { white / (high - low) } else { 0.0 };
        let sample = |v: &f64| if v.is_finite() { ((v - low) * scale).round() as u16 } else { 0 };
        let header = Header {
            format: Format::Png,
            width: self.width as u32,
            height: self.height as u32,
            channels: 1,
            bits: 16,
        };
        Raw { header, samples: self.slice(index).iter().map(sample).collect(), white: u16::MAX }
    }
}

fn renamed(path: &Path) -> Result<tempfile::NamedTempFile, DataError> {
    let failed = |e: std::io::Error| DataError::io(path, &e);
    let copy = tempfile::Builder::new().suffix(".nii.gz").tempfile().map_err(failed)?;
    std::fs::copy(path, copy.path()).map_err(failed)?;
    Ok(copy)
}

/// Where voxels lie, by the first of the three methods of the NIfTI-1 standard that the file has: sform, qform, or the
/// size of voxels alone.
fn affine(header: &NiftiHeader) -> Affine {
    if header.sform_code > 0 {
        return [header.srow_x, header.srow_y, header.srow_z].map(|row| row.map(f64::from));
    }
    let size = [1, 2, 3].map(|i| f64::from(header.pixdim[i]));
    let [dx, dy, dz] = size.map(|d| if d > 0.0 { d } else { 1.0 });
    if header.qform_code <= 0 {
        return [[dx, 0.0, 0.0, 0.0], [0.0, dy, 0.0, 0.0], [0.0, 0.0, dz, 0.0]];
    }
    let [mut b, mut c, mut d] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
    let left = 1.0 - (b * b + c * c + d * d);
    // A turn by half a circle, where rounding may leave less than nothing.
    let a = if left < 1e-7 {
        let length = (b * b + c * c + d * d).sqrt();
        (b, c, d) = (b / length, c / length, d / length);
        0.0
    } else {
        left.sqrt()
    };
    // Left-handed voxels are told by a sign.
    let dz = if header.pixdim[0] < 0.0 { -dz } else { dz };
    let [x, y, z] = [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from);
    [
        [(a * a + b * b - c * c - d * d) * dx, 2.0 * (b * c - a * d) * dy, 2.0 * (b * d + a * c) * dz, x],
        [2.0 * (b * c + a * d) * dx, (a * a + c * c - b * b - d * d) * dy, 2.0 * (c * d - a * b) * dz, y],
        [2.0 * (b * d - a * c) * dx, 2.0 * (c * d + a * b) * dy, (a * a + d * d - b * b - c * c) * dz, z],
    ]
}

/// Width, height and slices.
fn sides(header: &NiftiHeader) -> Result<[u16; 3], Problem> {
    let dims = header.dim().map_err(|e| Problem::Nifti { message: e.to_string() })?;
    // Trailing dimensions of one are written by some programs.
    let used = dims.len() - dims.iter().rev().take_while(|d| **d == 1).count();
    if used > 3 || dims.is_empty() {
        return Err(Problem::NiftiDimensions { dims: dims.to_vec() });
    }
    let side = |i: usize| dims.get(i).copied().unwrap_or(1);
    let [width, height, depth] = [side(0), side(1), side(2)];
    let (w, h) = (u32::from(width), u32::from(height));
    if w == 0 || h == 0 || depth == 0 {
        return Err(Problem::ZeroPixels { width: w, height: h });
    }
    if w.max(h) > MAX_SIDE || u64::from(w) * u64::from(h) > MAX_PIXELS {
        return Err(Problem::TooLarge { width: w, height: h });
    }
    if u64::from(w) * u64::from(h) * u64::from(depth) > MAX_VOXELS {
        return Err(Problem::NiftiDimensions { dims: dims.to_vec() });
    }
    Ok([width, height, depth])
}

fn values(volume: InMemNiftiVolume, header: &NiftiHeader) -> nifti::Result<Vec<f64>> {
    fn typed<T: DataElement>(volume: InMemNiftiVolume, to: impl Fn(T) -> f64) -> nifti::Result<Vec<f64>> {
        Ok(volume.into_nifti_typed_data::<T>()?.into_iter().map(to).collect())
    }
    match header.data_type()? {
        NiftiType::Uint8 => typed::<u8>(volume, f64::from),
        NiftiType::Int8 => typed::<i8>(volume, f64::from),
        NiftiType::Uint16 => typed::<u16>(volume, f64::from),
        NiftiType::Int16 => typed::<i16>(volume, f64::from),
        NiftiType::Uint32 => typed::<u32>(volume, f64::from),
        NiftiType::Int32 => typed::<i32>(volume, f64::from),
        NiftiType::Uint64 => typed::<u64>(volume, |v| v as f64),
        NiftiType::Int64 => typed::<i64>(volume, |v| v as f64),
        NiftiType::Float32 => typed::<f32>(volume, f64::from),
        NiftiType::Float64 => typed::<f64>(volume, |v| v),
        other => Err(nifti::NiftiError::UnsupportedDataType(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that nibabel wrote; `tests/fixtures/make_nifti.py` has the formulas.
    fn read(name: &str) -> Volume {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nifti");
        Volume::read(&fixtures.join(name)).unwrap()
    }

    #[test]
    fn slope_and_intercept_are_applied_to_what_is_stored() {
        let volume = read("image.nii.gz");
        assert_eq!((volume.width, volume.height, volume.depth), (6, 5, 3));
        for k in 0..3 {
            for (place, value) in volume.slice(k).iter().enumerate() {
                let stored = if k == 2 { 50 } else { place % 6 + 10 * (place / 6) + 100 * k };
                assert_eq!(*value, 2.0 * stored as f64 - 10.0, "voxel {place} of slice {k}");
            }
        }
        assert_eq!(volume.range(), Some((-10.0, 280.0)));
        // Stored as 4 with a slope of a quarter.
        let label = read("flat_label.nii");
        assert_eq!((label.values[0], label.values[6 * 5 - 1]), (0.0, 1.0));
    }

    #[test]
    fn one_slice_is_a_picture_and_several_are_none() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nifti");
        let raw = Volume::read_picture(&fixtures.join("flat.nii")).unwrap();
        assert_eq!((raw.header.width, raw.header.height), (6, 5));
        // 0 to 45 over the whole range of 16 bits.
        assert_eq!((raw.samples[0], raw.samples[1], raw.samples[29]), (0, 1456, u16::MAX));
        let problem = |name: &str| Volume::read_picture(&fixtures.join(name)).err().unwrap().problem;
        assert_eq!(problem("image.nii.gz"), Problem::NiftiSlices { slices: 3 });
        assert_eq!(problem("none.nii"), Problem::Missing);
    }

    #[test]
    fn a_qform_is_turned_into_rows() {
        let half = 0.5f32.sqrt();
        let header = |quaternion: [f32; 3], qfac: f32| {
            let mut header = NiftiHeader { sform_code: 0, qform_code: 1, ..NiftiHeader::default() };
            header.pixdim[..4].copy_from_slice(&[qfac, 2.0, 3.0, 4.0]);
            [header.quatern_b, header.quatern_c, header.quatern_d] = quaternion;
            [header.quatern_x, header.quatern_y, header.quatern_z] = [7.0, 8.0, 9.0];
            header
        };
        let near = |found: Affine, expected: Affine| {
            let apart = found.iter().flatten().zip(expected.iter().flatten());
            assert!(apart.into_iter().all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");
        };
        // Unturned; a quarter about the third axis; half about the first, where rounding may miss by a little.
        let plain = [[2.0, 0.0, 0.0, 7.0], [0.0, 3.0, 0.0, 8.0], [0.0, 0.0, 4.0, 9.0]];
        near(affine(&header([0.0; 3], 1.0)), plain);
        near(affine(&header([0.0; 3], 0.0)), plain);
        let quarter = [[0.0, -3.0, 0.0, 7.0], [2.0, 0.0, 0.0, 8.0], [0.0, 0.0, -4.0, 9.0]];
        near(affine(&header([0.0, 0.0, half], -1.0)), quarter);
        let over = [[2.0, 0.0, 0.0, 7.0], [0.0, -3.0, 0.0, 8.0], [0.0, 0.0, -4.0, 9.0]];
        near(affine(&header([1.000_000_1, 0.0, 0.0], 1.0)), over);
        // Where there is an sform that counts; where there is neither, sizes alone do.
        let both = NiftiHeader { sform_code: 1, ..header([0.0, 0.0, half], 1.0) };
        near(affine(&both), [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
        let none = NiftiHeader { qform_code: 0, ..header([0.0, 0.0, half], 1.0) };
        near(affine(&none), [[2.0, 0.0, 0.0, 0.0], [0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 4.0, 0.0]]);
    }

    #[test]
    fn big_endian_floats_without_a_slope() {
        let volume = read("flat.nii");
        let expected: Vec<f64> = (0..30).map(|place| f64::from(place % 6 + 10 * (place / 6))).collect();
        assert_eq!((volume.depth, volume.values), (1, expected));
    }
}
