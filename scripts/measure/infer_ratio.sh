#!/usr/bin/env bash
# Time of a U-Net's inference and of 3x3 convolutions against ncnn's Vulkan backend on the same adapter.
#
#   scripts/measure/infer_ratio.sh PYTHON NCNN_UNET.py
#
# PYTHON is an interpreter that has ncnn, pnnx and torch; NCNN_UNET.py takes `vulkan` and prints JSON lines
# {"what": "unet_infer", "batch": ..., "size": ..., "base": ..., "ms": ...}. So does `wgseg bench --json`.
# The two programs alternate, twice each. WGSEG names another binary than target/release/wgseg.
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
python=$1
ncnn_unet=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
wgseg=${WGSEG:-$root/target/release/wgseg}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

"$wgseg" adapters || true
for i in 1 2; do
    "$python" "$ncnn_unet" vulkan >"$out/ncnn_$i"
    for sizes in "4 64 8" "8 64 16" "8 128 16"; do
        read -r batch size base <<<"$sizes"
        "$wgseg" bench --unet --batch "$batch" --size "$size" --base "$base" --json >"$out/wgseg_${i}_${batch}_${size}_$base"
    done
done
python3 - "$out" <<'END'
import json, sys
from pathlib import Path

def walk(value):
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for v in value:
            yield from walk(v)

def records(path):
    text = path.read_text(encoding="utf-8")
    try:
        return list(walk(json.loads(text)))
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

def found(folder, who):
    times = {}
    for path in sorted(folder.glob(f"{who}_*")):
        for r in records(path):
            if r.get("what") == "unet_infer":
                times.setdefault((r["batch"], r["size"], r["base"]), []).append(r["ms"])
    return times

folder = Path(sys.argv[1])
ours, theirs = found(folder, "wgseg"), found(folder, "ncnn")
for key, t in sorted(theirs.items()):
    mine = ours.get(key) or sys.exit(f"no inference of batch, size, base {key} by wgseg")
    ms = ["{}: {} ms".format(who, " ".join(f"{x:.1f}" for x in times)) for who, times in (("wgseg", mine), ("ncnn", t))]
    print("batch {}, {}², base {}: ".format(*key) + ", ".join(ms) + f"; wgseg / ncnn {sum(mine) / sum(t):.2f}")
END
