#!/usr/bin/env bash
# Time of a U-Net's training step against PyTorch on the CPU. The two programs alternate, twice each.
#
#   scripts/measure/step_ratio.sh PYTHON TORCH_UNET.py
#
# PYTHON is an interpreter that has torch; TORCH_UNET.py takes --device --modes --batch --size --base and
# prints JSON lines, one of them {"what": "unet_train_step", "ms": ...}. So does `wgseg bench --json`.
# WGSEG names another binary than target/release/wgseg; BATCH, SIZE, BASE other sizes than 8, 128, 16.
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
python=$1
torch_unet=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
wgseg=${WGSEG:-$root/target/release/wgseg}
sizes=(--batch "${BATCH:-8}" --size "${SIZE:-128}" --base "${BASE:-16}")
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

"$wgseg" adapters || true
for i in 1 2; do
    "$wgseg" bench --unet "${sizes[@]}" --json >"$out/wgseg_$i"
    "$python" "$torch_unet" --device cpu --modes fp32 "${sizes[@]}" >"$out/torch_$i"
done
python3 - "$out" "${sizes[*]}" <<'END'
import json, sys

def milliseconds(path):
    """The `ms` of the training step, wherever it is in one JSON text or in JSON lines."""
    text = open(path, encoding="utf-8").read()
    try:
        found = [json.loads(text)]
    except ValueError:
        found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    while found:
        v = found.pop(0)
        if isinstance(v, dict):
            if v.get("what") == "unet_train_step" and "ms" in v:
                return float(v["ms"])
            found += v.values()
        elif isinstance(v, list):
            found += v
    sys.exit(f"no {{\"what\": \"unet_train_step\", \"ms\": ...}} in:\n{text}")

folder, sizes = sys.argv[1:]
ms = {who: [milliseconds(f"{folder}/{who}_{i}") for i in (1, 2)] for who in ("wgseg", "torch")}
print(sizes)
for who, t in ms.items():
    print(f"{who}: {t[0]:.1f} ms, {t[1]:.1f} ms a step")
print(f"wgseg / torch: {sum(ms['wgseg']) / sum(ms['torch']):.2f}")
END
