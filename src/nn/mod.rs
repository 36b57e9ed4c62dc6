//! Networks: what is put on a tape, how it starts, and what its parameters are called.

pub mod init;
pub mod layers;
pub mod layout;
pub mod unet;

pub use layers::{Layers, Mode};
