"""A model of wgseg in PyTorch (`pip install torch safetensors`): `net = load("RUN/best.safetensors")`."""
import json
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

class UNet(nn.Module):
    def __init__(self, base_channels, depth, in_channels, out_channels, norm, groups, upsample):
        super().__init__()
        norms = {"batch": nn.BatchNorm2d, "instance": lambda c: nn.InstanceNorm2d(c, affine=True), "group": lambda c: nn.GroupNorm(groups, c)}
        conv = lambda i, o: (nn.Conv2d(i, o, 3, padding=1, bias=False), norms[norm](o), nn.ReLU())
        block = lambda i, o: nn.Sequential(*conv(i, o), *conv(o, o))
        ups = {"transposed": lambda i, o: nn.ConvTranspose2d(i, o, 2, 2), "bilinear": lambda i, o: nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(i, o, 1))}
        w = [base_channels << i for i in range(depth + 1)]
        self.down = nn.ModuleList(block(i, o) for i, o in zip([in_channels, *w], w))
        self.up = nn.ModuleList(ups[upsample](2 * i, i) for i in reversed(w[:-1]))
        self.dec = nn.ModuleList(block(2 * i, i) for i in reversed(w[:-1]))
        self.head = nn.Conv2d(w[0], out_channels, 1)
    def forward(self, x):  # [N, in_channels, H, W] of any scale; gives logits
        x, skips = (x - x.mean((1, 2, 3), keepdim=True)) / (x.std((1, 2, 3), keepdim=True) + 1e-6), []
        for i, down in enumerate(self.down): skips.append(x := down(nn.functional.max_pool2d(x, 2) if i else x))
        for up, dec, skip in zip(self.up, self.dec, skips[-2::-1]): x = dec(torch.cat([skip, up(x)], 1))
        return self.head(x)

def load(path):
    net = UNet(**json.loads(safe_open(path, "pt").metadata()["wgseg"])["model"])
    net.load_state_dict(load_file(path))
    return net.eval()
