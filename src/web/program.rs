//! A compiled program as `runner.js` reads it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::program::{self, Access, Kernel};

/// WGSL of all kernels that the programs of a folder run, each once, by name.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Shaders(BTreeMap<&'static str, &'static str>);

impl Shaders {
    fn add(&mut self, kernel: &Kernel) -> &'static str {
        self.0.insert(kernel.shader.name, kernel.shader.source);
        kernel.shader.name
    }
}

#[derive(Debug, Serialize)]
pub struct Program {
    /// Bytes of each buffer.
    pub buffers: Vec<u64>,
    /// The uniform blocks of all dispatches.
    pub params: String,
    pub dispatches: Vec<Dispatch>,
    /// Inputs, states and outputs by name.
    pub ports: BTreeMap<String, Port>,
}

#[derive(Debug, Serialize)]
pub struct Dispatch {
    pub shader: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub constants: BTreeMap<&'static str, f64>,
    /// Offset and bytes of its uniform block.
    pub params: [u64; 2],
    /// Buffer, offset and bytes of bindings 1, 2, …, and 1 where it is written to.
    pub bindings: Vec<[u64; 4]>,
    pub grid: [u32; 3],
}

/// Where the f32 of a tensor lie.
#[derive(Debug, Serialize)]
pub struct Port {
    pub buffer: usize,
    pub offset: u64,
    pub length: usize,
}

impl Program {
    /// `program` as data. Its kernels go to `shaders`.
    pub fn new(program: &program::Program, shaders: &mut Shaders) -> Program {
        let dispatches = program.dispatches.iter().map(|d| Dispatch {
            shader: shaders.add(&d.kernel),
            constants: d.kernel.overrides.iter().copied().collect(),
            params: [d.params_offset, d.params_bytes],
            bindings: d
                .bindings
                .iter()
                .map(|b| [b.buffer as u64, b.offset, b.bytes, u64::from(b.access == Access::ReadWrite)])
                .collect(),
            grid: d.grid,
        });
        let ports = [&program.inputs, &program.states, &program.outputs].into_iter().flatten();
        Program {
            buffers: program.buffers.iter().map(|b| b.bytes).collect(),
            params: STANDARD.encode(&program.params),
            dispatches: dispatches.collect(),
            ports: ports
                .map(|p| {
                    let port = Port { buffer: p.buffer, offset: p.offset, length: p.shape.len() };
                    (p.name.clone(), port)
                })
                .collect(),
        }
    }
}
