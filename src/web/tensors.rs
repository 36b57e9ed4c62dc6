//! Numbers of inputs and expected results, as `runner.js` reads them.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// Numbers in a data file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Numbers {
    F32(String),
    F64(String),
    U32(String),
    /// Made where they are needed, see [`random`]: seed and how many.
    Random(u32, usize),
}

impl Numbers {
    pub fn f32(numbers: &[f32]) -> Numbers {
        Numbers::F32(STANDARD.encode(numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()))
    }
}

/// The numbers of a data file. What is there already is not stored again.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Tensors {
    all: Vec<Numbers>,
    #[serde(skip)]
    known: HashMap<Numbers, usize>,
}

impl Tensors {
    /// The place of `numbers`.
    fn add(&mut self, numbers: Numbers) -> usize {
        *self.known.entry(numbers).or_insert_with_key(|numbers| {
            self.all.push(numbers.clone());
            self.all.len() - 1
        })
    }

    /// The place of numbers that are exact in f32.
    pub fn f32(&mut self, numbers: &[f32]) -> usize {
        self.add(Numbers::f32(numbers))
    }

    pub fn f64(&mut self, numbers: &[f64]) -> usize {
        self.add(Numbers::F64(
            STANDARD.encode(numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()),
        ))
    }

    pub fn u32(&mut self, numbers: &[u32]) -> usize {
        self.add(Numbers::U32(
            STANDARD.encode(numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()),
        ))
    }

    pub fn random(&mut self, seed: u32, len: usize) -> usize {
        self.add(Numbers::Random(seed, len))
    }
}

/// Number `index` of the stream `seed`, in −1..1 and exact in f32. `runner.js` has the same.
pub fn random(seed: u32, index: u32) -> f32 {
    let mut hash = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9));
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^= hash >> 16;
    (hash >> 8) as f32 / (1 << 23) as f32 - 1.0
}
