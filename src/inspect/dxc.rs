//! Microsoft's compiler DXC, which makes DXIL of HLSL and validates it, as a library that is loaded.

use std::path::PathBuf;

use hassle_rs::{DxcBlob, DxcCompiler, DxcLibrary};
use serde::{Deserialize, Serialize};

/// The environment variable that names the library.
pub const VARIABLE: &str = "WGSEG_DXCOMPILER";

/// A kernel for the compiler.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// HLSL.
    pub source: String,
    pub entry: String,
    /// Stage and shader model: `cs_6_0`.
    pub profile: String,
    /// There is f16 in it.
    pub half: bool,
}

/// What the compiler made of a kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dxil {
    pub bytes: Vec<u8>,
    /// The same as text.
    pub text: String,
}

/// The library, loaded.
pub struct Dxc {
    compiler: DxcCompiler,
    library: DxcLibrary,
    name: String,
    /// Unloaded last.
    _dxc: hassle_rs::Dxc,
}

impl Dxc {
    /// Loads the library that [`VARIABLE`] names, else one of `target/tools` or of the system, and compiles a first
    /// kernel with it.
    pub fn open() -> Result<Dxc, String> {
        let named = std::env::var_os(VARIABLE).map(PathBuf::from);
        let places = named.clone().map_or_else(places, |path| vec![path]);
        let mut whys = vec![];
        for place in places {
            // The loader looks for a bare name in the system's folders.
            if place.components().count() > 1 && !place.exists() {
                whys.push(format!("no {}", place.display()));
                continue;
            }
            match hassle_rs::Dxc::new(Some(place)) {
                Ok(dxc) => return Dxc::of(dxc).map_err(|e| format!("DXC does not work: {e}")),
                Err(why) => whys.push(format!("{why}")),
            }
        }
        let advice = "on Linux scripts/offline_compilers.sh sets it up";
        let why = whys.join("; ");
        Err(match named {
            Some(_) => format!("{VARIABLE} names no DXC: {why}"),
            None => format!("DXC is not here ({why}); {advice}, and {VARIABLE} names another"),
        })
    }

    fn of(dxc: hassle_rs::Dxc) -> Result<Dxc, String> {
        let compiler = dxc.create_compiler().map_err(|e| e.to_string())?;
        let library = dxc.create_library().map_err(|e| e.to_string())?;
        let mut made = Dxc { compiler, library, name: String::new(), _dxc: dxc };
        let first = made.compile(&Job {
            source: "[numthreads(1, 1, 1)] void main() {}".to_owned(),
            entry: "main".to_owned(),
            profile: "cs_6_0".to_owned(),
            half: false,
        })?;
        made.name = identity(&first.text).unwrap_or("DXC").to_owned();
        Ok(made)
    }

    /// As the compiler calls itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Compiles with wgpu's arguments. The compiler validates what it makes, and does not sign it.
    pub fn compile(&self, job: &Job) -> Result<Dxil, String> {
        let text = |blob: DxcBlob| {
            let text = self.library.get_blob_as_string(&blob).map_err(|e| e.to_string())?;
            Ok::<String, String>(text.trim_end_matches(['\0', '\n', '\r']).to_owned())
        };
        let source =
            self.library.create_blob_with_encoding_from_str(&job.source).map_err(|e| e.to_string())?;
        let mut arguments = vec!["-HV", "2018", "-no-warnings", "-Ges"];
        if job.half {
            arguments.push("-enable-16bit-types");
        }
        let made = self.compiler.compile(&source, "kernel", &job.entry, &job.profile, &arguments, None, &[]);
        match made {
            Ok(made) => {
                let dxil = made.get_result().map_err(|e| e.to_string())?;
                let disassembly = self.compiler.disassemble(&dxil).map_err(|e| e.to_string())?;
                Ok(Dxil { bytes: dxil.to_vec(), text: text(disassembly.into())? })
            }
            Err((made, result)) => {
                let said = made.get_error_buffer().map_err(|e| e.to_string())?;
                let said = text(said.into())?;
                // It is told of every kernel that it is not signed.
                let lines = said.lines().filter(|line| !line.contains("DXIL signing library"));
                let said = lines.collect::<Vec<_>>().join("\n").trim().to_owned();
                Err(if said.is_empty() { format!("DXC gives no reason: {result}") } else { said })
            }
        }
    }
}

/// Where the library is looked for: beside the folder of this program, which is where the script puts it, below the
/// folder that the program was started in, and where the system has its libraries.
fn places() -> Vec<PathBuf> {
    let name = format!("{}dxcompiler{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.parent()?.join("tools")));
    let folders = beside.into_iter().chain([PathBuf::from("target/tools")]);
    folders.map(|folder| folder.join(&name)).chain([PathBuf::from(&name)]).collect()
}

/// Name and version in a text that it made: `!0 = !{!"dxc 1.8 (…)"}`, which `!llvm.ident` points to.
fn identity(text: &str) -> Option<&str> {
    let node = text.split_once("!llvm.ident = !{")?.1.split_once('}')?.0;
    let line = text.lines().find_map(|line| line.strip_prefix(node)?.strip_prefix(" = !{!\""))?;
    Some(line.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_is_known_by_what_it_leaves_in_its_text() {
        let text = "!llvm.ident = !{!0}\n!dx.version = !{!1}\n!0 = !{!\"dxc 1.8 (abc)\"}\n!1 = !{i32 1}\n";
        assert_eq!(identity(text), Some("dxc 1.8 (abc)"));
        assert_eq!(identity("!0 = !{}"), None);
    }
}
