//! NIfTI volumes: `.nii` and `.nii.gz`, of two dimensions or three.
//!
//! The first dimension is the width, the second the height, the third counts slices, as they are stored: nothing is
//! turned by the affine.

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
    /// The rows that say where a voxel lies; none where the file does not tell by `sform`.
    pub affine: Option<[[f32; 4]; 3]>,
}

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
        // Before anything is read: a header can ask for any amount of memory.
        let header = NiftiHeader::from_file(path).map_err(bad)?;
        let [width, height, depth] =
            sides(&header).map_err(|problem| DataError::at(path, problem))?.map(usize::from);
        let object = ReaderOptions::new().read_file(path).map_err(bad)?;
        let mut values = values(object.into_volume(), &header).map_err(bad)?;
        // A slope of 0 says that there is none.
        let (slope, inter) = (f64::from(header.scl_slope), f64::from(header.scl_inter));
        if slope != 0.0 && slope.is_finite() && inter.is_finite() && (slope, inter) != (1.0, 0.0) {
            values.iter_mut().for_each(|v| *v = *v * slope + inter);
        }
        let affine = (header.sform_code > 0).then_some([header.srow_x, header.srow_y, header.srow_z]);
        Ok(Volume { width, height, depth, values, affine })
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
    fn big_endian_floats_without_a_slope() {
        let volume = read("flat.nii");
        let expected: Vec<f64> = (0..30).map(|place| f64::from(place % 6 + 10 * (place / 6))).collect();
        assert_eq!((volume.depth, volume.values), (1, expected));
    }
}
