"""Checks ONNX files and runs them: python onnx_run.py JOBS.json, a list of {model, images, shape, out}.

`images` and `out` hold f32, little-endian; `out` gets probabilities and then logits.
"""

import json
import sys

import numpy
import onnx
import onnxruntime

onnxruntime.set_default_logger_severity(2)
for job in json.load(open(sys.argv[1])):
    onnx.checker.check_model(onnx.load(job["model"]), full_check=True)
    session = onnxruntime.InferenceSession(job["model"], providers=["CPUExecutionProvider"])
    images = numpy.fromfile(job["images"], "<f4").reshape(job["shape"])
    outputs = session.run(["probabilities", "logits"], {"images": images})
    assert outputs[0].shape == outputs[1].shape == (len(images), 1, *images.shape[2:]), outputs[0].shape
    numpy.stack(outputs).astype("<f4").tofile(job["out"])
print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
