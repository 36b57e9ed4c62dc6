"""Bytes of a training step: wgseg's forecast beside what PyTorch keeps in tensors.

Usage: python scripts/measure/memory_ratio.py [--real]

PyTorch runs the same step (U-Net of depth 4, batch norm, ReLU in place, BCE and soft Dice, AdamW) on
tensors without numbers, so it takes neither memory nor time; --real runs the small one on the CPU with
numbers, which has to give the same bytes. Counted are the bytes of all storages alive after an
operation: parameters, gradients, moments, what autograd keeps and the tensors between. What an operation
takes inside itself, such as a convolution's workspace, is not seen, and would come on top; what wgseg takes
there is in its figure. Needs torch; wgseg is built by cargo.
"""

import subprocess
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Batch, height and width, channels of the first level.
SIZES = [(8, 128, 16), (16, 256, 64)]
DEPTH = 4
MIB = 1 << 20


def block(inputs, outputs):
    layers = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    def __init__(self, base):
        super().__init__()
        width = [base << level for level in range(DEPTH + 1)]
        self.down = nn.ModuleList(block(i, o) for i, o in zip([1] + width, width))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(width[i + 1], width[i], 2, 2) for i in reversed(range(DEPTH))
        )
        self.dec = nn.ModuleList(block(2 * width[i], width[i]) for i in reversed(range(DEPTH)))
        self.head = nn.Conv2d(base, 1, 1)

    def forward(self, x):
        skips = []
        for level, stage in enumerate(self.down):
            x = stage(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for up, stage in zip(self.up, self.dec):
            x = stage(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)


def loss_of(logits, masks):
    p = torch.sigmoid(logits)
    axes = (1, 2, 3)
    both, sizes = (p * masks).sum(axes), p.sum(axes) + masks.sum(axes)
    dice = 1 - (2 * both + 1) / (sizes + 1)
    return F.binary_cross_entropy_with_logits(logits, masks) + dice.mean()


class Storages(TorchDispatchMode):
    """Knows the storages it was given and those that operations made, and how many bytes lived at most."""

    def __init__(self, tensors):
        super().__init__()
        self.alive = {}
        self.peak = 0
        self.add(tensors)

    def add(self, tensors):
        for tensor in tensors:
            storage = tensor.untyped_storage()
            self.alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        self.add(leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor))
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


def torch_bytes(batch, size, base):
    """The peak of the second step: the first has no moments yet."""
    net = UNet(base)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    images = torch.randn(batch, 1, size, size)
    masks = torch.ones(batch, 1, size, size)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss_of(net(images), masks).backward()
        optimizer.step()

    step()
    optimizer.zero_grad(set_to_none=True)
    moments = [leaf for leaf in tree_leaves(optimizer.state_dict()) if isinstance(leaf, torch.Tensor)]
    with Storages([images, masks, *net.parameters(), *net.buffers(), *moments]) as storages:
        step()
    return storages.peak


def main():
    for batch, size, base in SIZES:
        with FakeTensorMode():
            theirs = torch_bytes(batch, size, base)
        print(f"batch {batch}, {size}×{size}, base {base}: PyTorch {theirs / MIB:.1f} MiB", flush=True)
        if "--real" in sys.argv and size <= 128:
            print(f"  with numbers {torch_bytes(batch, size, base) / MIB:.1f} MiB")
        command = ["cargo", "bench", "--quiet", "--bench", "step_memory", "--"]
        lines = subprocess.check_output(command + [str(n) for n in (batch, size, base)], text=True)
        for line in lines.splitlines():
            family, ours, _ = line.split(maxsplit=2)
            print(f"  wgseg, {family} kernels: {int(ours) / MIB:.1f} MiB, ratio {int(ours) / theirs:.3f}")


if __name__ == "__main__":
    main()
