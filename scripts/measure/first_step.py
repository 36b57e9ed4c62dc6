#!/usr/bin/env python3
"""Time from the start of `wgseg train` to its first step, without and with the driver's cache of compiled kernels.

    scripts/measure/first_step.py CONFIG DATA [wgseg train's --set ...]

Mesa's drivers only: their cache is put in a folder of its own and removed before the first run. A loss is read when two
more steps have been submitted, so the first line of a step in metrics.jsonl comes two steps late; the time of one step, by
`wgseg bench`, is to be taken off twice. WGSEG names another binary than target/release/wgseg.
"""
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if len(sys.argv) < 3:
    sys.exit(__doc__)
config, data, *settings = sys.argv[1:]
root = Path(__file__).resolve().parents[2]
wgseg = os.environ.get("WGSEG", root / "target/release/wgseg")

with tempfile.TemporaryDirectory() as folder:
    environment = {**os.environ, "MESA_SHADER_CACHE_DIR": f"{folder}/cache"}
    for run, name in enumerate(["without a cache", "with it", "once more"]):
        out = Path(folder) / str(run)
        command = [wgseg, "train", config, "--data", data, "--out", out, "--set", "train.epochs=1", *settings]
        start = time.monotonic()
        training = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while training.poll() is None:
            log = out / "metrics.jsonl"
            if log.exists() and '"step"' in log.read_text(encoding="utf-8"):
                print(f"{name}: the first step's loss was there after {time.monotonic() - start:.1f} s", flush=True)
                training.kill()
                break
            time.sleep(0.02)
        else:
            sys.exit(f"{' '.join(map(str, command))} ended with {training.returncode} before its first step")
        training.wait()
