//! Models in other programs: `wgseg export`, and checkpoints in PyTorch.

mod common;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use prost::Message;
use wgseg::config::Config;
use wgseg::config::schema::{Norm, Upsample};
use wgseg::data::standardise::standardise;
use wgseg::nn::init::Init;
use wgseg::onnx::proto::{DataType, GraphProto, ModelProto, TensorProto, ValueInfoProto};
use wgseg::reference::{Tensor, run};
use wgseg::tape::Shape;
use wgseg::train::checkpoint::{Checkpoint, CheckpointInfo, Tensors, save};
use wgseg::train::step::{IMAGES, inference};
use wgseg::train::threshold::Threshold;

const SIZE: usize = 16;

/// Every kind of layer that a U-Net can have.
fn variants() -> Vec<Config> {
    let mut variants = vec![];
    for norm in [Norm::Batch, Norm::Instance, Norm::Group] {
        for upsample in [Upsample::Transposed, Upsample::Bilinear] {
            for in_channels in [1, 3] {
                for depth in 1..=3 {
                    let mut config = Config::default();
                    config.data.size = SIZE;
                    let model = &mut config.model;
                    (model.base_channels, model.groups) = (8, 4);
                    (model.norm, model.upsample) = (norm, upsample);
                    (model.in_channels, model.depth) = (in_channels, depth);
                    config.validate().expect("a config that can be trained");
                    variants.push(config);
                }
            }
        }
    }
    variants
}

/// Initial weights, and norms as if they had been trained: no two channels alike.
fn tensors(config: &Config) -> Tensors {
    let (_, network) = inference(config, 1, SIZE).expect("a tape");
    let trained = |index: usize, name: &str, shape: &Shape, init: Init| {
        let mut data = init.numbers(shape.len(), 7, name);
        if shape.dims().len() == 1 {
            let noise = noise(shape.len(), 100 + index as u64);
            data.iter_mut().zip(noise).for_each(|(x, noise)| *x += noise - 0.5);
        }
        (name.to_owned(), (shape.clone(), data))
    };
    let inits = network.inits.iter().enumerate();
    inits.map(|(index, (name, shape, init))| trained(index, name, shape, *init)).collect()
}

/// `count` numbers from 0 to 1 (the Lehmer generator of C++'s `minstd_rand`).
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed * 7_919 + 1;
    let mut next = || {
        state = state * 48_271 % 2_147_483_647;
        state as f32 / 2_147_483_647.0
    };
    (0..count).map(|_| next()).collect()
}

fn save_checkpoint(config: &Config, folder: &Path) -> PathBuf {
    let info = CheckpointInfo {
        version: "0.0.0".to_owned(),
        model: config.model.clone(),
        size: SIZE,
        threshold: Threshold::percent(35),
        epoch: 1,
        step: 1,
        val_dice: 0.5,
    };
    let path = folder.join("model.safetensors");
    save(&path, &tensors(config), &info).expect("a checkpoint");
    path
}

fn export(model: &Path, out: &Path) {
    let args = [Path::new("export"), Path::new("onnx"), Path::new("--model"), model, Path::new("--out"), out];
    let said = common::wgseg().args(args).assert().success().get_output().stdout.clone();
    let said = String::from_utf8(said).expect("text");
    assert!(said.contains("opset 17, 16 × 16, threshold 0.35"), "{said}");
}

/// As they are read: grey values to 1, of 16 bits with a large offset, and without any contrast. Channels last.
fn images(batch: usize, channels: usize) -> Vec<Vec<f32>> {
    let scales = [(0.0, 1.0), (30_000.0, 1_000.0), (77.7, 0.0)];
    let one = |(index, (offset, range)): (usize, (f32, f32))| {
        noise(SIZE * SIZE * channels, index as u64).iter().map(|x| offset + range * x).collect()
    };
    scales.into_iter().enumerate().map(one).take(batch).collect()
}

/// Channels first.
fn channels_first(images: &[Vec<f32>], channels: usize) -> Vec<f32> {
    let of_image = |image: &Vec<f32>| -> Vec<f32> {
        (0..channels)
            .flat_map(|c| image.iter().skip(c).step_by(channels).copied().collect::<Vec<_>>())
            .collect()
    };
    images.iter().flat_map(of_image).collect()
}

/// Probabilities and logits by the f64 reference.
fn expected(config: &Config, images: &[Vec<f32>]) -> [Vec<f64>; 2] {
    let (tape, network) = inference(config, images.len(), SIZE).expect("a tape");
    let standardised = images.iter().flat_map(|image| {
        let mut image = image.clone();
        standardise(&mut image);
        image
    });
    let standardised: Vec<f32> = standardised.collect();
    let shape = [images.len(), SIZE, SIZE, config.model.in_channels];
    let mut feeds: HashMap<String, Tensor> = tensors(config)
        .into_iter()
        .map(|(name, (shape, data))| (name, Tensor::from_f32(shape, &data)))
        .collect();
    feeds.insert(IMAGES.to_owned(), Tensor::from_f32(shape, &standardised));
    let run = run(&tape, &feeds).expect("a run");
    let probabilities = tape.outputs()[0].1;
    [probabilities, network.logits].map(|value| run.value(value).data.clone())
}

fn words(config: &Config) -> String {
    let model = &config.model;
    format!("{:?}, {:?}, {} channels, depth {}", model.norm, model.upsample, model.in_channels, model.depth)
}

#[test]
fn onnxruntime_computes_what_the_reference_does() {
    let Some(python) = common::python(&["numpy", "onnx", "onnxruntime"]) else { return };
    compare(&python, "onnx_run.py", |model| {
        let out = model.with_extension("onnx");
        export(model, &out);
        out
    });
}

#[test]
fn the_module_in_docs_computes_in_pytorch_what_the_reference_does() {
    let Some(python) = common::python(&["numpy", "torch", "safetensors.torch"]) else { return };
    compare(&python, "torch_run.py", Path::to_owned);
}

/// Runs every variant by `script`, given what `file` makes of its checkpoint. Prints a table of the differences.
fn compare(python: &Path, script: &str, file: impl Fn(&Path) -> PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut jobs = vec![];
    let mut cases = vec![];
    for (index, config) in variants().into_iter().enumerate() {
        let place = folder.path().join(index.to_string());
        std::fs::create_dir(&place).expect("a folder");
        let model = file(&save_checkpoint(&config, &place));
        for batch in [1, 3] {
            let channels = config.model.in_channels;
            let images = images(batch, channels);
            let path = place.join(format!("images_{batch}"));
            let numbers = channels_first(&images, channels);
            std::fs::write(&path, bytemuck::cast_slice(&numbers)).expect("a file");
            let out = place.join(format!("out_{batch}"));
            let shape = [batch, channels, SIZE, SIZE];
            jobs.push(serde_json::json!({ "model": model, "images": path, "shape": shape, "out": out }));
            cases.push((config.clone(), images, out));
        }
    }
    let list = folder.path().join("jobs.json");
    std::fs::write(&list, serde_json::to_string(&jobs).expect("JSON")).expect("a file");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export").join(script);
    let output = std::process::Command::new(python).arg(script).arg(&list).output().expect("Python runs");
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{failed}");

    println!("{said}");
    for (config, images, out) in cases {
        let bytes = std::fs::read(&out).expect("results");
        let found: Vec<f32> =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4"))).collect();
        let [probabilities, logits] = expected(&config, &images);
        assert_eq!(found.len(), 2 * logits.len());
        let largest = |found: &[f32], wanted: &[f64]| {
            let differences = found.iter().zip(wanted).map(|(f, w)| (f64::from(*f) - w).abs());
            // A NaN counts, and `f64::max` would leave it out.
            differences.fold(0.0, |worst, d| if d > worst || d.is_nan() { d } else { worst })
        };
        let (of_probabilities, of_logits) =
            (largest(&found[..logits.len()], &probabilities), largest(&found[logits.len()..], &logits));
        let range = logits.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        let what = format!("{}, batch {}", words(&config), images.len());
        println!("| {what} | {of_probabilities:.1e} | {of_logits:.1e} | {range:.1} |");
        assert!(of_probabilities < 1e-4 && of_logits < 1e-4, "{what}: {of_probabilities} {of_logits}");
    }
}

#[test]
fn a_graph_is_whole_and_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    for config in variants() {
        let path = folder.path().join("model.onnx");
        export(&save_checkpoint(&config, folder.path()), &path);
        let model = ModelProto::decode(&std::fs::read(&path).expect("a file")[..]).expect("a model");
        assert_eq!((model.ir_version, model.opset_import.len()), (8, 1));
        assert_eq!((model.opset_import[0].domain.as_str(), model.opset_import[0].version), ("", 17));
        let metadata: HashMap<_, _> =
            model.metadata_props.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
        assert_eq!((metadata["threshold"], metadata["size"]), ("0.35", "16"));
        let graph = model.graph.expect("a graph");
        check_names(&graph, &words(&config));
        for tensor in &graph.initializer {
            let width = if tensor.data_type() == DataType::Float { 4 } else { 8 };
            assert_eq!(
                tensor.raw_data.len(),
                width * tensor.dims.iter().product::<i64>() as usize,
                "{}",
                tensor.name
            );
        }
        check_weights(&graph.initializer, &tensors(&config));
        check_count(&graph, &config);
    }
}

/// Each name is made once, before it is read, and is read.
fn check_names(graph: &GraphProto, what: &str) {
    let made_before =
        graph.input.iter().map(|input| &input.name).chain(graph.initializer.iter().map(|t| &t.name));
    let mut known: HashSet<&str> = HashSet::new();
    for name in made_before {
        assert!(known.insert(name), "{what}: {name} twice");
    }
    let mut read: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    for node in &graph.node {
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            assert!(known.contains(input.as_str()), "{what}: {} reads {input}", node.name);
            read.insert(input);
        }
        for output in &node.output {
            assert!(known.insert(output), "{what}: {output} twice");
        }
    }
    assert_eq!(known, read, "{what}");
    let names = |ports: &[ValueInfoProto]| ports.iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    assert_eq!(
        (names(&graph.input), names(&graph.output)),
        (vec!["images".into()], vec!["probabilities".into(), "logits".into()])
    );
}

/// Every tensor of the checkpoint is there, as it is there.
fn check_weights(initializers: &[TensorProto], tensors: &Tensors) {
    let found: HashMap<&str, &TensorProto> = initializers.iter().map(|t| (t.name.as_str(), t)).collect();
    for (name, (shape, data)) in tensors {
        let tensor = found[name.as_str()];
        assert_eq!(tensor.raw_data.len(), 4 * shape.len(), "{name}");
        if let [kernel_h, kernel_w, inputs, outputs] = *shape.dims() {
            assert_eq!(tensor.dims, [outputs, inputs, kernel_h, kernel_w].map(|n| n as i64), "{name}");
            // The last of ours and the last of theirs are the same.
            assert_eq!(
                tensor.raw_data[tensor.raw_data.len() - 4..],
                data[data.len() - 1].to_le_bytes(),
                "{name}"
            );
        } else {
            assert_eq!(tensor.raw_data, bytemuck::cast_slice::<f32, u8>(data), "{name}");
        }
    }
}

/// A U-Net of depth d: two convolutions, norms and ReLUs a block, in d + 1 blocks down and d up, a convolution as head.
fn check_count(graph: &GraphProto, config: &Config) {
    let count = |op: &str| graph.node.iter().filter(|node| node.op_type == op).count();
    let depth = config.model.depth;
    let blocks = 2 * depth + 1;
    let bilinear = config.model.upsample == Upsample::Bilinear;
    assert_eq!((count("MaxPool"), count("Concat"), count("Relu")), (depth, depth, 2 * blocks));
    assert_eq!((count("Resize"), count("ConvTranspose")), if bilinear { (depth, 0) } else { (0, depth) });
    assert_eq!(count("Conv"), 2 * blocks + 1 + if bilinear { depth } else { 0 });
    let norms = (count("BatchNormalization"), count("InstanceNormalization"));
    assert_eq!(norms, if config.model.norm == Norm::Batch { (2 * blocks, 0) } else { (0, 2 * blocks) });
}

#[test]
fn what_cannot_be_exported_is_told_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = &variants()[0];
    let model = save_checkpoint(config, folder.path());
    let before = std::fs::read(&model).expect("a file");
    let refused = |model: &Path, out: &Path| {
        let args =
            [Path::new("export"), Path::new("onnx"), Path::new("--model"), model, Path::new("--out"), out];
        let said = common::wgseg().args(args).assert().failure().code(1).get_output().stderr.clone();
        String::from_utf8(said).expect("text")
    };
    let said = refused(&model, &model);
    assert!(said.contains("expected a name that ends in .onnx"), "{said}");
    assert_eq!(std::fs::read(&model).expect("a file"), before);

    let mut fewer = tensors(config);
    let (name, _) = fewer.pop_last().expect("a tensor");
    let info: CheckpointInfo = Checkpoint::open(&model).expect("a checkpoint").info().expect("a description");
    save(&model, &fewer, &info).expect("a checkpoint");
    let out = folder.path().join("model.onnx");
    let said = refused(&model, &out);
    assert!(said.contains(&name) && said.contains("missing"), "{said}");
    assert!(!out.exists());
}
