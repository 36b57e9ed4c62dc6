//! Memory that is not there: asked for on purpose, to see how a driver refuses it.

use super::{Gpu, GpuError};

impl Gpu {
    /// Largest buffer that the device allows, in bytes.
    pub fn max_buffer_bytes(&self) -> u64 {
        self.device.limits().max_buffer_size
    }

    /// Makes up to `most` buffers of `bytes` each until one is refused, and frees them. How many there were, and the error.
    pub fn allocate_until_refused(&self, bytes: u64, most: usize) -> (usize, Option<GpuError>) {
        let mut buffers = vec![];
        let mut end = None;
        while buffers.len() < most && end.is_none() {
            let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("exhaust"),
                size: bytes & !3,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            });
            match self.check(bytes) {
                Ok(()) => buffers.push(buffer),
                Err(error) => end = Some(error),
            }
        }
        (buffers.len(), end)
    }
}
