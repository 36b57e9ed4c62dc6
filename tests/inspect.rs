//! `wgseg inspect`: what AMD's compiler says of the kernels, where RADV's null device is there.

mod common;

use serde_json::Value;

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

    let table = std::fs::read_to_string(folder.path().join("navi31.csv")).expect("a table");
    assert_eq!(table.lines().count(), rows.len() + 1);
    let page = std::fs::read_to_string(folder.path().join("navi31.md")).expect("a page");
    assert!(page.contains("| conv2d/conv_tiled KERNEL_H=3 KERNEL_W=3"), "{page}");
    let code: Vec<String> = std::fs::read_dir(folder.path().join("navi31"))
        .expect("a folder of code")
        .map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("code"))
        .collect();
    assert_eq!(code.len(), rows.len());
    assert!(code.iter().all(|text| text.contains("s_endpgm")));
}

#[test]
fn an_unknown_chip_is_told_those_there_are() {
    let output = common::wgseg().args(["inspect", "--target", "amd:navi99"]).assert().code(2);
    let error = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    for name in ["amd:navi21", "amd:navi31", "amd:vega20"] {
        assert!(error.contains(name), "{error}");
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
