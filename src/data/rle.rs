//! The run-length code of the SIIM-ACR pneumothorax competition.
//!
//! Pairs `start length` of numbers parted by spaces. Pixels count down the columns, from the left column to the right
//! one. A start counts from the end of the run before, the first from pixel 0. A mask without foreground is `-1`.

use super::decode::Mask;

/// What stands for a mask without foreground.
pub const EMPTY: &str = "-1";

/// Why a run-length code is no mask of its image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RleError {
    #[error("there are no runs, expected pairs of start and length, or -1 for a mask without foreground")]
    Blank,
    #[error("`{word}` is no whole number, expected pairs of start and length")]
    NotANumber { word: String },
    #[error("there are {count} numbers, expected pairs of start and length")]
    Odd { count: usize },
    #[error(
        "run {run} starts at {start}, so it lies before the image or over the run before; expected 0 or more"
    )]
    NegativeStart { run: usize, start: i64 },
    #[error("run {run} has the length {length}, expected 1 or more")]
    Length { run: usize, length: i64 },
    #[error("run {run} ends at pixel {end}, but the image has {pixels}")]
    PastEnd { run: usize, end: u64, pixels: usize },
}

/// The mask of `width × height` pixels that `text` tells.
///
/// # Errors
/// `text` has something else than pairs of whole numbers, or a run that is empty, overlaps another or leaves the image.
pub fn decode(text: &str, width: usize, height: usize) -> Result<Mask, RleError> {
    let mut mask = Mask { width, height, pixels: vec![0; width * height] };
    add(text, &mut mask)?;
    Ok(mask)
}

/// Adds the foreground that `text` tells to `mask`: several codes of one image are a union.
///
/// # Errors
/// As [`decode`]; `mask` stays as it was.
pub fn add(text: &str, mask: &mut Mask) -> Result<(), RleError> {
    let (width, height) = (mask.width, mask.height);
    for (start, end) in runs(text, width * height)? {
        for position in start..end {
            let (x, y) = (position / height, position % height);
            mask.pixels[y * width + x] = 1;
        }
    }
    Ok(())
}

/// First pixel and the one after the last of each run.
fn runs(text: &str, pixels: usize) -> Result<Vec<(usize, usize)>, RleError> {
    let text = text.trim();
    if text == EMPTY {
        return Ok(Vec::new());
    }
    let number = |word: &str| word.parse().map_err(|_| RleError::NotANumber { word: word.to_string() });
    let numbers = text.split_whitespace().map(number).collect::<Result<Vec<i64>, RleError>>()?;
    if numbers.is_empty() {
        return Err(RleError::Blank);
    }
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(RleError::Odd { count: numbers.len() });
    }
    let mut position = 0usize;
    let mut runs = Vec::with_capacity(pairs.len());
    for (index, &[start, length]) in pairs.iter().enumerate() {
        let run = index + 1;
        let ahead = u64::try_from(start).map_err(|_| RleError::NegativeStart { run, start })?;
        let long = u64::try_from(length).ok().filter(|n| *n > 0).ok_or(RleError::Length { run, length })?;
        let end = (position as u64).saturating_add(ahead).saturating_add(long);
        if end > pixels as u64 {
            return Err(RleError::PastEnd { run, end, pixels });
        }
        runs.push((position + ahead as usize, end as usize));
        position = end as usize;
    }
    Ok(runs)
}

/// The code of the mask whose foreground is where `is_foreground(x, y)` holds; the inverse of [`decode`].
pub fn encode(width: usize, height: usize, is_foreground: impl Fn(usize, usize) -> bool) -> String {
    let mut numbers = Vec::new();
    // The end of the run before, and where the run that is open began.
    let (mut last, mut open) = (0, None);
    let mut close = |begin: usize, end: usize| {
        numbers.push((begin - last).to_string());
        numbers.push((end - begin).to_string());
        last = end;
    };
    let pixels = width * height;
    for position in 0..pixels {
        match (open, is_foreground(position / height, position % height)) {
            (None, true) => open = Some(position),
            (Some(begin), false) => {
                close(begin, position);
                open = None;
            }
            _ => {}
        }
    }
    if let Some(begin) = open {
        close(begin, pixels);
    }
    if numbers.is_empty() { EMPTY.to_string() } else { numbers.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(mask: &Mask) -> String {
        encode(mask.width, mask.height, |x, y| mask.pixels[y * mask.width + x] == 1)
    }

    #[test]
    fn runs_go_down_the_columns_from_the_end_of_the_last() {
        // By hand: 3 wide, 4 high; pixels 1 and 2 of the left column, then 3 on: 5 to 8, over two columns.
        let mask = decode(" 1 2 2 4", 3, 4).unwrap();
        #[rustfmt::skip]
        assert_eq!(mask.pixels, [
            0, 0, 1,
            1, 1, 0,
            1, 1, 0,
            0, 1, 0,
        ]);
        assert_eq!(again(&mask), "1 2 2 4");
    }

    #[test]
    fn every_small_mask_comes_back() {
        for (width, height) in [(2, 5), (5, 2), (1, 10)] {
            for bits in 0..1024u32 {
                let pixels = (0..10).map(|i| (bits >> i & 1) as u8).collect();
                let mask = Mask { width, height, pixels };
                assert_eq!(decode(&again(&mask), width, height).unwrap(), mask);
            }
        }
    }

    #[test]
    fn the_last_pixel_and_the_empty_mask() {
        assert_eq!(decode("5 1", 2, 3).unwrap().pixels, [0, 0, 0, 0, 0, 1]);
        assert_eq!(decode("0 6", 2, 3).unwrap().pixels, [1; 6]);
        assert_eq!(decode(" -1", 2, 3).unwrap().pixels, [0; 6]);
        assert_eq!(encode(2, 3, |x, y| (x, y) == (1, 2)), "5 1");
        assert_eq!(encode(2, 3, |_, _| false), "-1");
    }

    #[test]
    fn several_codes_are_a_union() {
        let mut mask = decode("0 2", 2, 3).unwrap();
        add("1 2", &mut mask).unwrap();
        assert_eq!(again(&mask), "0 3");
        assert!(add("0 1 9", &mut mask).is_err());
        assert_eq!(again(&mask), "0 3");
    }

    #[test]
    fn what_is_no_code_is_refused() {
        let error = |text| decode(text, 2, 3).unwrap_err();
        assert_eq!(error(""), RleError::Blank);
        assert_eq!(error("1 x"), RleError::NotANumber { word: "x".into() });
        assert_eq!(error("1 1.5"), RleError::NotANumber { word: "1.5".into() });
        assert_eq!(error("1 2 3"), RleError::Odd { count: 3 });
        assert_eq!(error("0 2 -1 2"), RleError::NegativeStart { run: 2, start: -1 });
        assert_eq!(error("-2 2"), RleError::NegativeStart { run: 1, start: -2 });
        assert_eq!(error("1 0"), RleError::Length { run: 1, length: 0 });
        assert_eq!(error("1 -3"), RleError::Length { run: 1, length: -3 });
        assert_eq!(error("1 2 2 2"), RleError::PastEnd { run: 2, end: 7, pixels: 6 });
        let far = i64::MAX;
        assert!(matches!(error(&format!("{far} {far}")), RleError::PastEnd { run: 1, .. }));
        assert_eq!(decode("0 1", 0, 0), Err(RleError::PastEnd { run: 1, end: 1, pixels: 0 }));
    }
}
