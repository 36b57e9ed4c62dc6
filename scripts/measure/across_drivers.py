#!/usr/bin/env python3
"""The same training on several drivers: how far their losses part in 30 steps, and their Dice beside that of other seeds.

Drivers are those of scripts/drivers.sh, which must be there. On the first driver it also trains again, for the same bytes,
and with two other seeds.
"""
import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("drivers", nargs="+", metavar="DRIVER", help="such as mesa-25.0 llvmpipe-gl mesa-26.1; two or more")
parser.add_argument("--data", type=Path, help="a data folder; without it images are generated")
parser.add_argument("--config", default="phantom", help="a config (%(default)s)")
parser.add_argument("--epochs", type=int, default=3, help="of ten steps each (%(default)s)")
options = parser.parse_args()
drivers = options.drivers
if len(drivers) < 2:
    parser.error("two drivers or more are compared")
root = Path(__file__).resolve().parents[2]
wgseg = root / "target/release/wgseg"
SETTINGS = [f"train.epochs={options.epochs}", "train.steps_per_epoch=10", "train.batch_size=8", "data.size=64", "model.base_channels=8",
            "train.learning_rate=0.003"]


def run(driver, *arguments):
    command = [root / "scripts/drivers.sh", "run", driver, wgseg, *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{driver}: {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def train(driver, data, out, seed):
    settings = [word for setting in [*SETTINGS, f"train.seed={seed}"] for word in ("--set", setting)]
    run(driver, "train", options.config, "--data", data, "--out", out, *settings)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [row["loss"] for row in rows if row["kind"] == "step"]
    score = json.loads(run(driver, "evaluate", "--model", out / "last.safetensors", "--data", data, "--json"))
    return losses, score["dice"]["mean"], hashlib.sha256((out / "last.safetensors").read_bytes()).hexdigest()


with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    data = options.data
    if data is None:
        data = folder / "data"
        run(drivers[0], "data", "phantom", "--out", data, "--count", "120", "--size", "64", "--seed", "1")
    found = {driver: train(driver, data, folder / driver, 1) for driver in drivers}
    again = train(drivers[0], data, folder / "again", 1)
    print(f"{drivers[0]} again: the same checkpoint: {again[2] == found[drivers[0]][2]}")
    for seed in (2, 3):
        print(f"{drivers[0]}, seed {seed}: Dice {train(drivers[0], data, folder / f'seed{seed}', seed)[1]:.4f}")
    first = found[drivers[0]][0]
    for driver, (losses, dice, checkpoint) in found.items():
        apart = max(abs(a - b) / abs(a) for a, b in zip(first[:30], losses))
        print(f"{driver}: {len(losses)} steps, loss {losses[0]:.6f} to {losses[-1]:.6f}, at most {apart:.1e} of the loss in 30 steps from "
              f"{drivers[0]}, Dice {dice:.4f}, checkpoint {checkpoint[:12]}")
