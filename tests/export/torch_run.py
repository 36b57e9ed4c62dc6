"""Runs checkpoints in PyTorch by docs/pytorch_unet.py; arguments and files are those of onnx_run.py."""

import json
import os
import sys

sys.dont_write_bytecode = True
import numpy
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs"))
from pytorch_unet import load

for job in json.load(open(sys.argv[1])):
    images = torch.from_numpy(numpy.fromfile(job["images"], "<f4").reshape(job["shape"]))
    with torch.no_grad():
        logits = load(job["model"])(images)
    torch.stack([logits.sigmoid(), logits]).numpy().astype("<f4").tofile(job["out"])
print("PyTorch", torch.__version__)
