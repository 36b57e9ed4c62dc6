//! A kernel's WGSL source, as it is inside the binary, and what naga says of its bindings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

/// A file below `shaders/`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Shader {
    /// Path below `shaders/`, without the ending: `conv2d/conv_naive`; of a [`ByWidth`], with
    /// its width: `norm/forward x4`.
    pub name: &'static str,
    pub source: &'static str,
}

/// Embeds `shaders/<path>.wgsl`.
#[macro_export]
macro_rules! shader {
    ($path:literal) => {
        $crate::program::Shader {
            name: $path,
            source: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $path, ".wgsl")),
        }
    };
}

/// One source made into two kernels: `T` is `f32` in one and `vec4f` in the other, `U` and `B` the
/// `u32` and `bool` of the same width. What is alike in all channels need be written only once,
/// and four channels cost one load where their number allows.
#[derive(Debug)]
pub struct ByWidth {
    pub one: Shader,
    pub four: Shader,
}

impl ByWidth {
    /// The kernel for this many channels, and the channels that one `T` holds.
    pub fn of(&'static self, channels: usize) -> (&'static Shader, usize) {
        if channels.is_multiple_of(4) { (&self.four, 4) } else { (&self.one, 1) }
    }
}

/// Embeds `shaders/<path>.wgsl` as a [`ByWidth`]. The kernels go by the path and their width.
#[macro_export]
macro_rules! shader_by_width {
    ($path:literal) => {
        $crate::program::ByWidth {
            one: $crate::program::Shader {
                name: concat!($path, " x1"),
                // On the first line, so that a message tells the line of the file.
                source: concat!(
                    "alias T = f32; alias U = u32; alias B = bool; ",
                    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $path, ".wgsl"))
                ),
            },
            four: $crate::program::Shader {
                name: concat!($path, " x4"),
                source: concat!(
                    "alias T = vec4f; alias U = vec4u; alias B = vec4<bool>; ",
                    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $path, ".wgsl"))
                ),
            },
        }
    };
}

/// How a kernel uses a storage binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    Read,
    ReadWrite,
}

/// What the compiler needs to know of a kernel's interface.
#[derive(Debug)]
pub struct Interface {
    /// Storage bindings 1, 2, … in order. Binding 0 is the uniform block.
    pub storage: Vec<Access>,
    /// Invocations in a workgroup.
    pub workgroup: [u32; 3],
}

impl Shader {
    /// Parses the source once. A shader that does not parse, or whose bindings are not
    /// `uniform, storage…` at 0, 1, …, is a defect of this crate and told as a message.
    pub fn interface(&self) -> Result<Arc<Interface>, String> {
        type Cache = Mutex<HashMap<&'static str, Result<Arc<Interface>, String>>>;
        static CACHE: OnceLock<Cache> = OnceLock::new();
        let mut cache = CACHE.get_or_init(Cache::default).lock().unwrap_or_else(|e| e.into_inner());
        cache.entry(self.name).or_insert_with(|| self.parse().map(Arc::new)).clone()
    }

    fn parse(&self) -> Result<Interface, String> {
        let module = naga::front::wgsl::parse_str(self.source)
            .map_err(|e| format!("shader {}: {}", self.name, e.emit_to_string(self.source)))?;
        let entry = module
            .entry_points
            .iter()
            .find(|e| e.name == "main")
            .ok_or_else(|| format!("shader {}: no entry point `main`", self.name))?;
        let mut bindings: Vec<(u32, Option<Access>)> = module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| {
                let binding = variable.binding?.binding;
                match variable.space {
                    naga::AddressSpace::Storage { access } => Some((
                        binding,
                        Some(if access.contains(naga::StorageAccess::STORE) {
                            Access::ReadWrite
                        } else {
                            Access::Read
                        }),
                    )),
                    _ => Some((binding, None)),
                }
            })
            .collect();
        bindings.sort_by_key(|(binding, _)| *binding);
        let in_order = bindings
            .iter()
            .enumerate()
            .all(|(i, (binding, access))| *binding == i as u32 && access.is_none() == (i == 0));
        if !in_order {
            return Err(format!(
                "shader {}: bindings must be one uniform, then storage: {bindings:?}",
                self.name
            ));
        }
        let storage = bindings.iter().filter_map(|(_, access)| *access).collect();
        Ok(Interface { storage, workgroup: entry.workgroup_size })
    }
}
