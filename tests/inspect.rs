//! `wgseg inspect`: what compilers and validators say of the kernels, where they are there.

mod common;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use wgseg::inspect::dxc::{Dxc, Job};
use wgseg::inspect::{InspectError, Tool};

const SMALL: [&str; 8] = ["--batch", "2", "--size", "32", "--base", "8", "--depth", "2"];

/// The report of one chip, or `None`, said plainly, where there is no RADV.
fn inspect(args: &[&str]) -> Option<Value> {
    let output = common::wgseg().args(["inspect", "--json"]).args(args).output().expect("the program runs");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let chip = report["targets"][0].clone();
    let limits_met = chip["summary"]["missing"] == 0;
    assert_eq!(output.status.code(), Some(i32::from(!limits_met)), "{chip:#}");
    if let Some(why) = chip["skipped"].as_str() {
        eprintln!("SKIPPED: no AMD compiler on this machine: {why}");
        return None;
    }
    Some(chip)
}

#[test]
fn matrix_kernels_become_products_of_matrices_on_navi31() {
    let size =
        ["--batch", "2", "--size", "32", "--base", "16", "--depth", "2", "--precision", "mixed_matrices"];
    let Some(chip) = inspect(&[&["--target", "amd:navi31"], &size[..]].concat()) else { return };
    for name in ["conv2d/conv_matrix 16x16 f16", "conv2d/grad_weight_matrix 16x16 f16"] {
        let rows = chip["rows"].as_array().expect("rows").iter();
        let of_kernel = rows.filter(|row| row["kernel"].as_str().is_some_and(|k| k.starts_with(name)));
        let of_kernel: Vec<_> = of_kernel.collect();
        assert!(!of_kernel.is_empty(), "{name}: {chip:#}");
        // A miss would be a spilled register, too few waves, or no `v_wmma`.
        assert!(of_kernel.iter().all(|row| row["misses"] == serde_json::json!([])), "{of_kernel:#?}");
    }
}

#[test]
fn the_kernels_of_a_unet_are_compiled_for_navi31() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("a path");
    let size = ["--batch", "2", "--size", "32", "--base", "8", "--depth", "2"];
    let args = [&["--target", "amd:navi31", "--out", out], &size[..]].concat();
    let Some(chip) = inspect(&args) else { return };

    assert!(chip["driver"].as_str().is_some_and(|d| d.contains("NAVI31")), "{chip:#}");
    let rows = chip["rows"].as_array().expect("rows");
    let row = |name: &str| {
        let found = rows.iter().find(|r| r["kernel"].as_str().is_some_and(|k| k.starts_with(name)));
        found.unwrap_or_else(|| panic!("no {name}")).clone()
    };
    for row in rows {
        let of = |key: &str| row[key].as_u64().unwrap_or_else(|| panic!("{key} in {row:#}"));
        assert!(of("vgprs") > 0 && of("instructions") > 5 && of("code_bytes") > 20, "{row:#}");
        assert_eq!(of("spilled_vgprs") + of("spilled_sgprs"), 0, "{row:#}");
        assert!(of("waves_per_simd") >= 4, "{row:#}");
    }
    for name in ["conv2d/conv_tiled ", "conv2d/grad_weight_tiled "] {
        let row = row(name);
        assert!(row["lds_bytes"].as_u64() > Some(4_096), "{row:#}");
        assert!(row["main_loop_multiply_add_percent"].as_f64() >= Some(70.0), "{row:#}");
    }
    assert!(row("add/forward")["main_loop"].is_null());

    let table = std::fs::read_to_string(folder.path().join("amd-navi31.csv")).expect("a table");
    assert_eq!(table.lines().count(), rows.len() + 1);
    let page = std::fs::read_to_string(folder.path().join("amd-navi31.md")).expect("a page");
    assert!(page.contains("| conv2d/conv_tiled KERNEL_H=3 KERNEL_W=3"), "{page}");
    let code: Vec<String> = std::fs::read_dir(folder.path().join("amd-navi31"))
        .expect("a folder of code")
        .map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("code"))
        .collect();
    assert_eq!(code.len(), rows.len());
    assert!(code.iter().all(|text| text.contains("s_endpgm")));
}

/// The reports of several targets; those whose tool is not here are told and left out.
fn reports(targets: &str, args: &[&str]) -> Vec<Value> {
    let mut wgseg = common::wgseg();
    let output = wgseg.args(["inspect", "--json", "--target", targets]).args(args).output();
    let output = output.expect("the program runs");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let mut all = report["targets"].as_array().expect("targets").clone();
    let met = all.iter().all(|target| target["summary"]["failed"] == 0);
    assert_eq!(output.status.code(), Some(i32::from(!met)), "{report:#}");
    all.retain(|target| {
        if let Some(why) = target["skipped"].as_str() {
            eprintln!("SKIPPED: {}: {why}", target["target"]);
        }
        target["skipped"].is_null()
    });
    all
}

/// The one file of a kernel with this ending.
fn file_of(folder: &Path, kernel: &str, ending: &str) -> PathBuf {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut found = entries.filter(|path| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        name.contains(kernel) && name.ends_with(ending)
    });
    found.next().unwrap_or_else(|| panic!("no {kernel} {ending} in {}", folder.display()))
}

#[test]
fn the_kernels_of_a_unet_pass_every_validator() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("a path");
    for report in reports("spirv,dxil,msl,glsl", &[&["--out", out], &SMALL[..]].concat()) {
        let target = report["target"].as_str().expect("a target");
        let summary = &report["summary"];
        assert!(summary["kernels"].as_u64() > Some(20), "{report:#}");
        assert_eq!(summary["passed"], summary["kernels"], "{report:#}");
        assert_eq!(report["compiled"], target != "msl", "{target}");
        let name = target.replace(':', "-");
        let endings: &[&str] = match target.split(':').next() {
            Some("spirv") => &[".spv"],
            Some("dxil") => &[".hlsl", ".dxil", ".ll"],
            Some("glsl") => &[".comp"],
            _ => &[".metal"],
        };
        for ending in endings {
            let file = file_of(&folder.path().join(&name), "add-forward", ending);
            assert!(std::fs::metadata(&file).expect("a file").len() > 100, "{}", file.display());
        }
        let table = std::fs::read_to_string(folder.path().join(format!("{name}.csv"))).expect("a table");
        assert!(table.contains("add/forward,") && table.contains(",passed,"), "{table}");
    }
}

#[test]
fn what_a_target_lacks_is_skipped_and_no_failure() {
    let args = [&["--precision", "mixed"], &SMALL[..]].concat();
    for report in reports("spirv:vulkan1.3,dxil:6.0,dxil:6.2,glsl:450", &args) {
        let has_half = matches!(report["target"].as_str(), Some("spirv:vulkan1.3" | "dxil:6.2"));
        assert_eq!(report["summary"]["skipped"] == 0, has_half, "{report:#}");
        for row in report["rows"].as_array().expect("rows") {
            let is_half = row["kernel"].as_str().is_some_and(|kernel| kernel.contains(" f16 "));
            let expected = match is_half && !has_half {
                true => json!(["skipped", "it needs f16"]),
                false => json!(["passed", null]),
            };
            assert_eq!(json!([row["verdict"], row["why"]]), expected, "{row:#}");
        }
    }
}

/// A kernel's file, once it is there and accepted.
fn good(target: &str, folder: &Path, ending: &str) -> Option<PathBuf> {
    let out = folder.to_str().expect("a path");
    let reports = reports(target, &[&["--out", out], &SMALL[..]].concat());
    reports.first()?;
    Some(file_of(&folder.join(target.replace(':', "-")), "add-forward", ending))
}

/// What a validator says of a file and of the same file broken.
fn broken(tool: Result<Tool, InspectError>, arguments: &[&str], file: &Path, bytes: &[u8]) -> String {
    let tool = tool.expect("it was here a moment ago");
    let folder = file.parent().expect("a folder");
    let name = file.file_name().expect("a name").to_str().expect("UTF-8");
    tool.run(arguments, folder, name).expect("as wgseg wrote it");
    std::fs::write(file, bytes).expect("a file");
    tool.run(arguments, folder, name).expect_err("it is broken")
}

#[test]
fn a_broken_kernel_is_refused_by_spirv_val() {
    let folder = tempfile::tempdir().expect("a folder");
    for target in ["spirv:vulkan1.1", "spirv:vulkan1.3"] {
        let Some(file) = good(target, folder.path(), ".spv") else { return };
        let mut bytes = std::fs::read(&file).expect("a binary");
        // OpTypeFloat of 32 bits: three words, of which the last is the width.
        let is_type = |word: &[u8]| word == 0x0003_0016_u32.to_le_bytes();
        let at = bytes.chunks(4).position(is_type).expect("a type of floats") * 4 + 8;
        bytes[at] = 33;
        let environment = target.trim_start_matches("spirv:");
        let said = broken(Tool::spirv_val(), &["--target-env", environment], &file, &bytes);
        assert!(said.contains("OpTypeFloat"), "{said}");
    }
}

#[test]
fn a_broken_kernel_is_refused_by_glslang() {
    let folder = tempfile::tempdir().expect("a folder");
    for target in ["glsl:es310", "glsl:450"] {
        let Some(file) = good(target, folder.path(), ".comp") else { return };
        let text = std::fs::read_to_string(&file).expect("a text");
        let text = text.replacen("void main() {", "void main() { undeclared = 1;", 1);
        let said = broken(Tool::glslang(), &["-S", "comp"], &file, text.as_bytes());
        assert!(said.contains("undeclared"), "{said}");
    }
}

#[test]
fn a_broken_kernel_is_refused_by_dxc_and_by_its_validator() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(file) = good("dxil:6.0", folder.path(), ".hlsl") else { return };
    let source = std::fs::read_to_string(&file).expect("a text");
    let dxc = Dxc::open().expect("it was here a moment ago");
    let compile = |source: &str| {
        let (entry, profile) = ("main".to_owned(), "cs_6_0".to_owned());
        dxc.compile(&Job { source: source.to_owned(), entry, profile, half: false })
    };
    let made = compile(&source).expect("as wgseg wrote it");
    assert!(made.bytes.starts_with(b"DXBC") && made.text.contains("dx.op"), "{}", made.text);
    let said = compile(&source.replacen("void main(", "undeclared void main(", 1)).expect_err("it is broken");
    assert!(said.contains("undeclared"), "{said}");
    // The language takes this much workgroup memory, and no device does.
    let greedy = "RWByteAddressBuffer o : register(u0); groupshared float x[100000];
        [numthreads(64, 1, 1)] void main(uint i : SV_GroupIndex) {
            x[i] = i; GroupMemoryBarrierWithGroupSync(); o.Store(i * 4, asuint(x[i * 7 % 100])); }";
    let said = compile(greedy).expect_err("it is too large");
    assert!(said.contains("Validation failed"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_validators_no_is_a_failure_in_its_own_words() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let tool = folder.path().join("spirv-val");
    let text = "#!/bin/sh\n[ \"$1\" = --version ] && echo strict && exit\necho not this one >&2\nexit 1\n";
    std::fs::write(&tool, text).expect("a program");
    std::fs::set_permissions(&tool, PermissionsExt::from_mode(0o755)).expect("it may run");
    let mut wgseg = common::wgseg();
    wgseg.env("PATH", folder.path()).args(["inspect", "--json", "--target", "spirv:vulkan1.1"]).args(SMALL);
    let output = wgseg.assert().code(1).get_output().stdout.clone();
    let report: Value = serde_json::from_slice(&output).expect("JSON");
    let report = &report["targets"][0];
    assert_eq!(report["validator"], "strict");
    assert_eq!(report["summary"]["failed"], report["summary"]["kernels"]);
    assert_eq!(report["rows"][0]["why"], "not this one");
}

#[test]
fn absent_tools_are_named_with_what_to_do_and_are_no_panic() {
    let mut wgseg = common::wgseg();
    wgseg.env("PATH", "").env("WGSEG_DXCOMPILER", "/none.so");
    wgseg.args(["inspect", "--target", "spirv,dxil:6.0,msl", "--target", "glsl:450"]).args(SMALL);
    let output = wgseg.assert().code(1).get_output().clone();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in [
        "spirv:vulkan1.1: skipped: spirv-val is not here; on Debian and Ubuntu: apt-get install spirv-tools",
        "glsl:450: skipped: glslangValidator is not here; on Debian and Ubuntu: apt-get install glslang-tools",
        "dxil:6.0: skipped:",
        "WGSEG_DXCOMPILER names no DXC: no /none.so",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("panicked"), "{error}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("translated, 0 failed"), "Metal needs no tool");
}

#[test]
fn an_unknown_target_is_told_those_there_are() {
    for wrong in ["amd:navi99", "spirv,hlsl"] {
        let output = common::wgseg().args(["inspect", "--target", wrong]).assert().code(2);
        let error = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        for name in ["spirv:vulkan1.1", "dxil:6.6", "msl", "glsl:es310", "amd:navi21", "amd:vega20"] {
            assert!(error.contains(name), "{error}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_driver_that_cannot_be_loaded_is_said_and_is_no_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = folder.path().join("radeon_icd.json");
    let text = r#"{"file_format_version":"1.0.0","ICD":{"library_path":"/none.so","api_version":"1.3.0"}}"#;
    std::fs::write(&manifest, text).expect("a file");
    let mut wgseg = common::wgseg();
    wgseg.env("VK_DRIVER_FILES", &manifest).args(["inspect", "--target", "amd:navi31"]);
    let output = wgseg.assert().code(1);
    let error = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(error.contains("amd:navi31: skipped:") && !error.contains("panicked"), "{error}");
}
