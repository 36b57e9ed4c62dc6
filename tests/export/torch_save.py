"""Saves a U-Net of docs/pytorch_unet.py with random weights: python torch_save.py MODEL.json OUT.safetensors."""

import json
import os
import sys

sys.dont_write_bytecode = True
import torch
from safetensors.torch import save_file

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs"))
from pytorch_unet import UNet

torch.manual_seed(5)
save_file(UNet(**json.load(open(sys.argv[1]))).state_dict(), sys.argv[2])
