//! Counter-based random numbers, keyed by seed, purpose and step.
//!
//! A draw never depends on what was drawn before it elsewhere, so a run gives
//! the same numbers whatever the number of threads, and after a resume.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a stream of random numbers is for. Streams of different purposes are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    Init = 1,
    Split = 2,
    Labelled = 3,
    Order = 4,
    Augment = 5,
    Phantom = 6,
    Case = 7,
    /// What a task makes of its images.
    Task = 8,
    /// Which unlabelled images are held out.
    HeldOut = 10,
    /// Random choices of a method that couples tasks.
    Coupling = 11,
    /// Which teacher is asked.
    Teacher = 12,
    Bootstrap = 13,
}

/// A generator that depends on `seed`, `purpose` and `step` alone.
pub fn rng(seed: u64, purpose: Purpose, step: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    key[0..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
    key[16..24].copy_from_slice(&step.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A seed for the part `name` of a run of `seed`, so that parts draw apart from each other.
pub fn seed_of(seed: u64, name: &str) -> u64 {
    hash(seed.to_le_bytes().into_iter().chain(name.bytes()))
}

/// FNV-1a, which is the same on every platform.
pub(crate) fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
