//! The device side: adapters, the device with its pipelines, and sessions that replay programs.

mod adapter;
mod device;
mod exhaust;
mod offer;
mod pipelines;
mod session;
mod timeline;
mod timestamps;
mod timing;

pub use adapter::{AdapterDescription, alike, choose, free_host_memory, list};
pub use device::{Extra, Gpu, GpuOptions};
pub use offer::Offer;
pub use session::{Session, States};
pub use timeline::{HostEvent, HostLog, Submitted};
pub use timestamps::{Span, Timestamps};
pub use timing::{Clock, DispatchTimes};

#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    #[error(
        "no GPU adapter was found; install a Vulkan driver (on Debian or Ubuntu the software driver \
         is `apt install mesa-vulkan-drivers`), then see `wgseg adapters`"
    )]
    NoAdapter,
    #[error("no adapter matches {wanted:?}; there are:\n{available}")]
    UnknownAdapter { wanted: String, available: String },
    #[error(
        "{wanted:?} matches more than one adapter; choose one by its number, or add its backend or a part of its driver, \
         as in \"llvmpipe gl\" or \"llvmpipe 25.0\":\n{matching}"
    )]
    AmbiguousAdapter { wanted: String, matching: String },
    #[error(
        "adapter {adapter}: train.precision is \"{precision}\", but the adapter has no f16 in shaders (shader-f16); \
         choose another by --adapter, or set train.precision = \"f32\""
    )]
    NoHalf { adapter: String, precision: crate::program::Precision },
    #[error(
        "adapter {adapter}: train.precision is \"mixed_matrices\", but wgseg knows no cooperative matrices of it (8×8 or \
         16×16 of f16 with sums in f32, on Vulkan VK_KHR_cooperative_matrix); set train.precision = \"mixed\", or choose \
         another adapter by --adapter"
    )]
    NoMatrices { adapter: String },
    #[error("adapter {adapter}: no device: {message}")]
    NoDevice { adapter: String, message: String },
    #[error("adapter {adapter}: {message}")]
    Device { adapter: String, message: String },
    #[error(
        "adapter {adapter} ran out of memory ({message}); the program needs {needed} bytes; use a smaller train.batch_size, data.size or model.base_channels"
    )]
    OutOfMemory { adapter: String, needed: u64, message: String },
    #[error("this program has no {kind} {name:?}; it has {known}")]
    UnknownPort { kind: &'static str, name: String, known: String },
    #[error("{name:?} has shape {shape}, {expected} numbers, but {found} were given")]
    Length { name: String, shape: crate::tape::Shape, expected: usize, found: usize },
    #[error("{0}")]
    Shader(String),
}
