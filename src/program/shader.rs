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

/// One source made into kernels for cooperative matrices of f16 of two sizes: `SIDE` is 8 in one and 16 in the other,
/// `Scalar` is f16, `Left`, `Right` and `Sum` are the matrices.
#[derive(Debug)]
pub struct BySide {
    pub eight: Shader,
    pub sixteen: Shader,
}

impl BySide {
    /// The kernel for matrices of `side`, which is 8 or 16.
    pub fn of(&'static self, side: usize) -> &'static Shader {
        if side == 8 { &self.eight } else { &self.sixteen }
    }
}

/// Embeds `shaders/<path>.wgsl` as a [`BySide`]. The kernels go by the path and their side.
#[macro_export]
macro_rules! shader_by_side {
    ($path:literal) => {
        $crate::program::BySide {
            eight: $crate::shader_by_side!($path, 8),
            sixteen: $crate::shader_by_side!($path, 16),
        }
    };
    ($path:literal, $side:literal) => {
        $crate::program::Shader {
            name: concat!($path, " ", $side, "x", $side),
            // On the first line, so that a message tells the line of the file.
            source: concat!(
                "enable f16; enable wgpu_cooperative_matrix; alias Scalar = f16; const SIDE = ",
                $side,
                "u; ",
                "alias Left = coop_mat",
                $side,
                "x",
                $side,
                "<f16, A>; ",
                "alias Right = coop_mat",
                $side,
                "x",
                $side,
                "<f16, B>; ",
                "alias Sum = coop_mat",
                $side,
                "x",
                $side,
                "<f32, C>; ",
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $path, ".wgsl"))
            ),
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
    /// Whether it multiplies cooperative matrices, for which it rounds to f16 what is f32.
    pub fn multiplies_matrices(&self) -> bool {
        self.source.contains("coopMultiplyAdd")
    }

    /// The form of the kernel for storage bindings that are f16 where `half` says so, binding 1 first. It is
    /// made on first use and kept.
    ///
    /// A kernel that has such forms names the element type of the binding by an alias of its own,
    /// `alias Input = vec4f;` (or `f32`, or the `T` of a [`ByWidth`]), turns each number into f32 where it is
    /// loaded, and into the alias where it is stored. Errors when a binding has no alias.
    pub fn with_half(&'static self, half: &[bool]) -> Result<&'static Shader, String> {
        if !half.contains(&true) {
            return Ok(self);
        }
        type Cache = Mutex<HashMap<(&'static str, Vec<bool>), &'static Shader>>;
        static CACHE: OnceLock<Cache> = OnceLock::new();
        let mut cache = CACHE.get_or_init(Cache::default).lock().unwrap_or_else(|e| e.into_inner());
        let key = (self.name, half.to_vec());
        if let Some(known) = cache.get(&key) {
            return Ok(known);
        }
        let made: &'static Shader = Box::leak(Box::new(self.make_half(half)?));
        cache.insert(key, made);
        Ok(made)
    }

    fn make_half(&self, half: &[bool]) -> Result<Shader, String> {
        // On the first line, as the alias of a width.
        let mut source = format!("enable f16; {}", self.source);
        let mut names = vec![];
        for (binding, _) in (1..).zip(half).filter(|(_, half)| **half) {
            let (name, alias) = self.element_of(binding)?;
            let declared = format!("alias {alias} = ");
            let full = source.split_once(&declared).and_then(|(_, rest)| Some(rest.split_once(';')?.0));
            let full = full.ok_or_else(|| format!("shader {}: {name} has no form in f16", self.name))?;
            let short = match full {
                "f32" => "f16",
                "vec4f" => "vec4h",
                "T" if self.source.starts_with("alias T = f32;") => "f16",
                "T" => "vec4h",
                other => return Err(format!("shader {}: {other} has no form in f16", self.name)),
            };
            source = source.replacen(&format!("{declared}{full};"), &format!("{declared}{short};"), 1);
            names.push(name);
        }
        let name = format!("{} f16 {}", self.name, names.join(" "));
        Ok(Shader { name: name.leak(), source: source.leak() })
    }

    /// Name and element type of a storage binding.
    fn element_of(&self, binding: usize) -> Result<(&str, &str), String> {
        let found =
            self.source.split_once(&format!("@binding({binding}) var<storage")).and_then(|(_, rest)| {
                let (name, rest) = rest.split_once("> ")?.1.split_once(": array<")?;
                Some((name, rest.split_once(">;")?.0))
            });
        found.ok_or_else(|| format!("shader {}: binding {binding} is no storage array", self.name))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    static COPY: Shader = Shader {
        name: "copy",
        source: "alias Output = vec4f;\n\
            @group(0) @binding(0) var<uniform> count: u32;\n\
            @group(0) @binding(1) var<storage, read> input: array<vec4f>;\n\
            @group(0) @binding(2) var<storage, read_write> output: array<Output>;\n\
            @compute @workgroup_size(1) fn main() { output[0] = Output(input[0]); }",
    };

    #[test]
    fn an_f16_form_differs_in_the_alias_alone_and_is_made_once() {
        assert_eq!(COPY.with_half(&[false, false]).unwrap(), &COPY);
        let half = COPY.with_half(&[false, true]).unwrap();
        assert_eq!(
            half.source,
            format!("enable f16; {}", COPY.source.replace("Output = vec4f", "Output = vec4h"))
        );
        assert_eq!(half.interface().unwrap().storage, COPY.interface().unwrap().storage);
        assert!(std::ptr::eq(half, COPY.with_half(&[false, true]).unwrap()));
        assert_ne!(half.name, COPY.name);
    }

    #[test]
    fn a_binding_without_an_alias_has_no_f16_form() {
        let message = COPY.with_half(&[true, false]).unwrap_err();
        assert!(message.contains("copy") && message.contains("input"), "{message}");
    }
}
