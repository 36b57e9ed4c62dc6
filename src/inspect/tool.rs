//! A validator that is a program of its own.

use std::path::Path;
use std::process::{Command, Stdio};

use super::InspectError;

/// A program on PATH.
#[derive(Debug)]
pub struct Tool {
    program: &'static str,
    version: String,
}

impl Tool {
    /// Khronos' validator of SPIR-V.
    pub fn spirv_val() -> Result<Tool, InspectError> {
        Tool::open("spirv-val", "spirv-tools")
    }

    /// Its disassembler.
    pub fn spirv_dis() -> Result<Tool, InspectError> {
        Tool::open("spirv-dis", "spirv-tools")
    }

    /// Khronos' front end of GLSL.
    pub fn glslang() -> Result<Tool, InspectError> {
        Tool::open("glslangValidator", "glslang-tools")
    }

    fn open(program: &'static str, package: &'static str) -> Result<Tool, InspectError> {
        let told = Command::new(program).arg("--version").stdin(Stdio::null()).output();
        let told = told.map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => InspectError::NoTool { program, package },
            _ => InspectError::ToolFails { program, why: e.to_string() },
        })?;
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        let version = text.lines().next().unwrap_or(program).trim().to_owned();
        Ok(Tool { program, version })
    }

    /// As the program calls itself.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Runs it in `folder` on a file there. What it says is the error where it does not accept the file.
    pub fn run(&self, arguments: &[&str], folder: &Path, file: &str) -> Result<(), String> {
        let mut command = Command::new(self.program);
        command.args(arguments).arg(file).current_dir(folder).stdin(Stdio::null());
        let output = command.output().map_err(|e| format!("{} does not start: {e}", self.program))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        Err(if said.is_empty() { format!("{}: {}", self.program, output.status) } else { said })
    }
}
