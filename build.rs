//! Gives the program hashes of its sources: of those that results depend on, as a run is done anew when they change,
//! and of the kernels.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use sha2::{Digest, Sha256};

/// What data, networks, kernels and training are made of. Commands, reports and docs are not among it.
const SOURCES: [&str; 14] = [
    "Cargo.lock",
    "Cargo.toml",
    "shaders",
    "src/config",
    "src/data",
    "src/gpu",
    "src/method",
    "src/nn",
    "src/ops",
    "src/program",
    "src/rng.rs",
    "src/tape",
    "src/tasks",
    "src/train",
];

/// What the speed of kernels depends on, and which forms of them there are: a table of measured times holds until
/// it changes.
const KERNELS: [&str; 4] = ["Cargo.lock", "shaders", "src/ops", "src/program"];

/// Which runs there are and in what order they are done; what comes out of one is in its spec.
const LEFT_OUT: [&str; 11] = [
    "src/method/assess.rs",
    "src/method/check.rs",
    "src/method/error.rs",
    "src/method/execute.rs",
    "src/method/forecast.rs",
    "src/method/graph.rs",
    "src/method/inputs.rs",
    "src/method/mod.rs",
    "src/method/only.rs",
    "src/method/plan.rs",
    "src/method/view.rs",
];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=WGSEG_SOURCES={}", hash_of(&SOURCES)?);
    println!("cargo::rustc-env=WGSEG_KERNELS={}", hash_of(&KERNELS)?);
    Ok(())
}

/// Hash of the files in or at `sources`, as 32 hexadecimal digits.
fn hash_of(sources: &[&str]) -> io::Result<String> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut files = vec![];
    for source in sources {
        println!("cargo::rerun-if-changed={source}");
        collect(&root, source, &mut files)?;
    }
    files.retain(|file| !LEFT_OUT.contains(&file.as_str()));
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let text = without_words(&fs::read_to_string(root.join(&file))?);
        // Lengths, so that nothing can move from one file to the next unseen.
        hash.update(format!("{file}\n{}\n", text.len()));
        hash.update(&text);
    }
    Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// A source without its tests, which stand at the end of a file, and without lines of comment: no result
/// depends on them.
fn without_words(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Paths of all files in or at `path`, relative to `root`, with `/` on every system.
fn collect(root: &Path, path: &str, files: &mut Vec<String>) -> io::Result<()> {
    if root.join(path).is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(root.join(path))? {
        let name = entry?.file_name();
        collect(root, &format!("{path}/{}", name.to_string_lossy()), files)?;
    }
    Ok(())
}
