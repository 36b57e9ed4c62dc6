//! Which kernels there are to inspect: the pipelines of programs, each once.

use std::collections::HashMap;

use super::InspectError;
use super::module::Module;
use crate::config::Config;
use crate::ops::registry::ENTRIES;
use crate::program::{Caps, Kernel, Matrices, Program, compile, compile_for};
use crate::tape::Value;
use crate::train::step::{inference, train_step};
use crate::verify::case_tape;

/// A pipeline and how often it is run.
#[derive(Clone, Debug)]
pub struct Used {
    pub kernel: Kernel,
    /// In all programs that were looked at.
    pub dispatches: usize,
}

impl Used {
    /// The shader, with the `override` constants that it is given.
    pub fn label(&self) -> String {
        let constants: Vec<String> =
            self.kernel.overrides.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} {}", self.kernel.shader.name, constants.join(" ")).trim_end().to_owned()
    }

    /// As naga holds it.
    pub fn module(&self) -> Result<Module, String> {
        Module::of(&self.kernel)
    }
}

/// The pipelines of a U-Net's training step, in its precision, and of its inference in f32 on a GPU that has these
/// cooperative matrices.
pub fn of_unet(config: &Config, matrices: Option<Matrices>) -> Result<Vec<Used>, InspectError> {
    let (batch, size) = (config.train.batch_size, config.data.size);
    let step = train_step(config, batch, size)?;
    let (tape, _) = inference(config, batch, size)?;
    let caps = Caps { matrices, ..gpu() };
    Ok(distinct(&[compile_for(&step.tape, &caps, config.train.precision)?, compile(&tape, &caps)?]))
}

/// The pipelines of all ops at the shapes that `wgseg verify` checks them at.
pub fn of_ops() -> Result<Vec<Used>, InspectError> {
    let mut programs = vec![];
    for case in ENTRIES.iter().flat_map(|entry| (entry.cases)()) {
        let mut tape = case_tape(&case)?.tape;
        // What nothing uses is not compiled.
        for index in 0..tape.nodes().len() {
            tape.output(&index.to_string(), Value(index));
        }
        programs.push(compile(&tape, &gpu())?);
    }
    Ok(distinct(&programs))
}

/// The pipelines of all ops in every form that `wgseg verify` knows: of each family, in f16, and by cooperative matrices
/// of either side.
pub fn of_every_form() -> Result<Vec<Used>, InspectError> {
    let mut programs = vec![];
    for case in ENTRIES.iter().flat_map(|entry| (entry.cases)()) {
        for matrices in [Matrices::of(16, 32, 32), Matrices::of(8, 8, 8)] {
            let caps = Caps { subgroups: true, matrices, ..gpu() };
            programs.extend(crate::verify::programs(&case, &caps)?);
        }
    }
    Ok(distinct(&programs))
}

/// A GPU whose memory does not matter here.
fn gpu() -> Caps {
    Caps { max_binding_bytes: u64::from(u32::MAX), ..Caps::default() }
}

/// Sorted by shader, then by constants.
fn distinct(programs: &[Program]) -> Vec<Used> {
    let mut at: HashMap<String, usize> = HashMap::new();
    let mut found: Vec<Used> = vec![];
    for dispatch in programs.iter().flat_map(|program| &program.dispatches) {
        let used = Used { kernel: dispatch.kernel.clone(), dispatches: 0 };
        let index = *at.entry(used.label()).or_insert_with(|| {
            found.push(used);
            found.len() - 1
        });
        found[index].dispatches += 1;
    }
    found.sort_by_key(Used::label);
    found
}

#[cfg(test)]
mod tests {
    use super::super::spirv;
    use super::super::target::Vulkan;
    use super::*;
    use crate::program::Precision;

    #[test]
    fn a_pipeline_is_told_once_with_all_its_dispatches() {
        let set = ["model.base_channels=8", "model.depth=2", "data.size=16"].map(str::to_owned);
        let config = Config::parse("", "test", &set).unwrap();
        let kernels = of_unet(&config, None).unwrap();
        let labels: Vec<String> = kernels.iter().map(Used::label).collect();
        assert!(labels.is_sorted() && labels.windows(2).all(|pair| pair[0] != pair[1]), "{labels:#?}");
        let step = compile(&train_step(&config, config.train.batch_size, 16).unwrap().tape, &gpu()).unwrap();
        let dispatches: usize = kernels.iter().map(|k| k.dispatches).sum();
        assert!(dispatches > step.dispatches.len(), "{dispatches}: the inference counts as well");
        assert!(
            labels.iter().any(|l| l.starts_with("conv2d/conv_tiled KERNEL_H=3 KERNEL_W=3")),
            "{labels:#?}"
        );
        assert!(!labels.iter().any(|l| l.contains("cpu")), "{labels:#?}");
    }

    /// Of f16 matrices of either side, on devices with few and many lanes.
    fn mixed() -> Vec<Used> {
        let set = ["model.base_channels=32", "model.depth=2", "data.size=64"].map(str::to_owned);
        let mut config = Config::parse("", "test", &set).unwrap();
        config.train.precision = Precision::MixedMatrices;
        // Side, and the fewest and most lanes of a subgroup.
        let kinds = [(8, 8, 8), (8, 4, 64), (8, 128, 128), (16, 32, 32), (16, 32, 64), (16, 64, 64)];
        let of = |(side, least, most)| {
            let matrices = Matrices::of(side, least, most);
            assert!(matrices.is_some());
            of_unet(&config, matrices).unwrap()
        };
        kinds.into_iter().flat_map(of).collect()
    }

    #[test]
    fn a_mixed_step_multiplies_matrices_where_there_are_some() {
        let labels: Vec<String> = mixed().iter().map(Used::label).collect();
        for kernel in ["conv2d/conv_matrix", "conv2d/grad_weight_matrix"] {
            for side in ["8x8", "16x16"] {
                let name = format!("{kernel} {side} f16");
                assert!(labels.iter().any(|label| label.starts_with(&name)), "{name}: {labels:#?}");
            }
        }
    }

    fn words(used: &Used) -> Vec<u32> {
        spirv::translate(&used.module().unwrap(), Vulkan::V1_3).unwrap()
    }

    #[test]
    fn every_kernel_becomes_spir_v_for_matrices_too() {
        for used in mixed() {
            assert_eq!(words(&used)[0], 0x0723_0203, "{}", used.label());
        }
    }

    /// Of a workgroup's variables, its `override` constants filled in.
    fn workgroup_bytes(kernel: &Kernel) -> u32 {
        let module = naga::front::wgsl::parse_str(kernel.shader.source).unwrap();
        let (flags, capabilities) = (naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all());
        let info = naga::valid::Validator::new(flags, capabilities).validate(&module).unwrap();
        let constants = kernel.overrides.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let entry = Some((naga::ShaderStage::Compute, "main"));
        let (module, _) =
            naga::back::pipeline_constants::process_overrides(&module, &info, entry, &constants).unwrap();
        let mut sizes = naga::proc::Layouter::default();
        sizes.update(module.to_ctx()).unwrap();
        let shared = module.global_variables.iter().filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup);
        shared.map(|(_, v)| sizes[v.ty].size).sum()
    }

    #[test]
    fn no_kernel_takes_more_workgroup_memory_than_every_device_has() {
        let limit = wgpu::Limits::default().max_compute_workgroup_storage_size;
        let kernels = [of_ops().unwrap(), mixed()].concat();
        let most = kernels.iter().map(|used| (workgroup_bytes(&used.kernel), used.label())).max().unwrap();
        assert!(0 < most.0 && most.0 <= limit, "{most:?} of {limit}");
    }

    #[test]
    fn every_kernel_of_the_ops_becomes_spir_v() {
        let kernels = of_ops().unwrap();
        assert!(
            kernels.iter().any(|used| used.label().starts_with("norm/grad_input x4")),
            "the backward is there"
        );
        for used in kernels {
            let words = words(&used);
            assert_eq!(words[0], 0x0723_0203, "{}", used.label());
            assert_eq!(words[1], 0x0001_0600, "{}: version 1.6", used.label());
        }
    }
}
