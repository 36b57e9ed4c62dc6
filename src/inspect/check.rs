//! Every kernel translated for a target and given to its validator. Texts and binaries are written to a folder, and the
//! validators read what is written there.

use std::path::Path;

use super::dxc::{self, Dxil};
use super::kernels::Used;
use super::module::Module;
use super::target::{Glsl, ShaderModel, Target, Vulkan};
use super::tool::Tool;
use super::verdict::{Check, TargetReport, Verdict};
use super::{InspectError, files, glsl, hlsl, msl, parallel, process, spirv};
use crate::report::{ReportError, atomic};

/// Kernels, what they are translated for and where the files go.
pub struct Checked<'a> {
    target: Target,
    kernels: &'a [Used],
    folder: &'a Path,
}

/// A kernel among them, and the names of its files without their ending.
struct Place<'a> {
    used: &'a Used,
    folder: &'a Path,
    stem: String,
}

impl Place<'_> {
    /// Writes the file with this ending and gives its name.
    fn write(&self, ending: &str, bytes: &[u8]) -> Result<String, InspectError> {
        let name = format!("{}.{ending}", self.stem);
        atomic::write(&self.folder.join(&name), bytes)?;
        Ok(name)
    }
}

impl<'a> Checked<'a> {
    pub fn new(target: Target, kernels: &'a [Used], folder: &'a Path) -> Result<Checked<'a>, InspectError> {
        std::fs::create_dir_all(folder).map_err(|e| ReportError::write(folder, e))?;
        Ok(Checked { target, kernels, folder })
    }

    pub fn spirv(&self, vulkan: Vulkan) -> Result<TargetReport, InspectError> {
        let validator = Tool::spirv_val()?;
        let disassembler = Tool::spirv_dis().ok();
        let environment = match vulkan {
            Vulkan::V1_1 => "vulkan1.1",
            Vulkan::V1_3 => "vulkan1.3",
        };
        let verdicts = self.each(
            |module| spirv::translate(module, vulkan),
            |place, words| {
                let file = place.write("spv", bytemuck::cast_slice(&words))?;
                if let Some(disassembler) = &disassembler {
                    // A text for readers; a binary that is broken is the validator's to tell.
                    let _ = disassembler.run(&["-o", &format!("{}.spvasm", place.stem)], place.folder, &file);
                }
                match validator.run(&["--target-env", environment], place.folder, &file) {
                    Err(said) if said.contains("Invalid capability operand") => {
                        Ok(Verdict::Skipped(format!("younger than this spirv-val, which says: {said}")))
                    }
                    result => Ok(result.into()),
                }
            },
        )?;
        Ok(self.report(validator.version(), verdicts.into_iter().map(either)))
    }

    pub fn glsl(&self, version: Glsl) -> Result<TargetReport, InspectError> {
        let validator = Tool::glslang()?;
        let verdicts = self.each(
            |module| glsl::translate(module, version),
            |place, text| {
                let file = place.write("comp", text.as_bytes())?;
                Ok(validator.run(&["-S", "comp"], place.folder, &file).into())
            },
        )?;
        Ok(self.report(validator.version(), verdicts.into_iter().map(either)))
    }

    /// Apple's compiler is on Apple's systems alone: naga's word is all there is.
    pub fn msl(&self) -> Result<TargetReport, InspectError> {
        let verdicts = self.each(msl::translate, |place, text| {
            place.write("metal", text.as_bytes())?;
            Ok(Verdict::Passed)
        })?;
        let (major, minor) = msl::VERSION;
        let validator = format!("MSL {major}.{minor} by naga, translated, not compiled");
        Ok(TargetReport { compiled: false, ..self.report(&validator, verdicts.into_iter().map(either)) })
    }

    pub fn dxil(&self, model: ShaderModel) -> Result<TargetReport, InspectError> {
        let translated = self.each(
            |module| hlsl::translate(module, model),
            |place, job| {
                place.write("hlsl", job.source.as_bytes())?;
                Ok(job)
            },
        )?;
        let jobs: Vec<&dxc::Job> = translated.iter().filter_map(|job| job.as_ref().ok()).collect();
        let (name, built) = compile_on_all_cores(self.target, &jobs)?;
        let mut built = built.into_iter();
        let mut verdicts = vec![];
        for (place, job) in self.places().iter().zip(translated) {
            verdicts.push(match job.map(|_| built.next()) {
                Err(verdict) => verdict,
                Ok(Some(Ok(dxil))) => {
                    place.write("dxil", &dxil.bytes)?;
                    place.write("ll", dxil.text.as_bytes())?;
                    Verdict::Passed
                }
                Ok(Some(Err(why))) => Verdict::Failed(why),
                Ok(None) => Verdict::Failed("the compiler said nothing of it".to_owned()),
            });
        }
        Ok(self.report(&name, verdicts))
    }

    fn places(&self) -> Vec<Place<'_>> {
        let place = |(index, used): (usize, &'a Used)| Place {
            used,
            folder: self.folder,
            stem: files::stem(index, &used.label()),
        };
        self.kernels.iter().enumerate().map(place).collect()
    }

    /// Of each kernel what `then` makes of its translation, or what speaks against having one.
    fn each<T, R: Send>(
        &self,
        translate: impl Fn(&Module) -> Result<T, String> + Sync,
        then: impl Fn(&Place, T) -> Result<R, InspectError> + Sync,
    ) -> Result<Vec<Result<R, Verdict>>, InspectError> {
        let of = |place: &Place| {
            let translated = place.used.module().map_err(Verdict::Failed).and_then(|module| {
                let why = self.target.lacks(module.needs);
                why.map_or_else(
                    || translate(&module).map_err(Verdict::Failed),
                    |why| Err(Verdict::Skipped(why)),
                )
            });
            translated.map(|translated| then(place, translated)).map_or_else(|v| Ok(Err(v)), |r| r.map(Ok))
        };
        parallel::map(&self.places(), of).into_iter().collect()
    }

    fn report(&self, validator: &str, verdicts: impl IntoIterator<Item = Verdict>) -> TargetReport {
        let rows =
            self.kernels.iter().zip(verdicts).map(|(used, verdict)| Check::of(used, verdict)).collect();
        let target = self.target.name().to_owned();
        TargetReport { target, validator: validator.to_owned(), compiled: true, rows }
    }
}

/// The verdict, whoever gave it.
fn either(verdict: Result<Verdict, Verdict>) -> Verdict {
    verdict.unwrap_or_else(|verdict| verdict)
}

/// The compiler's name, and what came of each job.
type Built = (String, Vec<Result<Dxil, String>>);

/// Each core has a compiler, and every so many-th job.
fn compile_on_all_cores(target: Target, jobs: &[&dxc::Job]) -> Result<Built, InspectError> {
    let parts = parallel::cores().min(jobs.len()).max(1);
    let of_part = |part: &usize| {
        let own: Vec<&dxc::Job> = jobs.iter().skip(*part).step_by(parts).copied().collect();
        process::compile(target, |_| {}, &own)
    };
    let built = parallel::map(&(0..parts).collect::<Vec<_>>(), of_part);
    let mut name = String::new();
    let mut of_parts = vec![];
    for part in built {
        let (compiler, results) = part?;
        name = compiler;
        of_parts.push(results.into_iter());
    }
    let dealt = (0..jobs.len()).filter_map(|job| of_parts[job % parts].next());
    Ok((name, dealt.collect()))
}
