#!/usr/bin/env bash
# The two-stage method beside all its rivals, on lung fields (20 labelled films) and on vessels (5
# labelled images).
#
#   scripts/measure/compare.sh DATA OUT [ARGUMENT...]
#
# DATA holds lungs/, cxr-unlabelled/ and vessels/, as docs/measurements/README.md says; each table is in
# OUT/lungs and OUT/vessels. It takes hours, and goes on where it was stopped. Arguments are passed on
# to `wgseg compare`. Needs Python with Pillow (PYTHON names one) to cut the vessels into tiles.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$2"
data=$(cd "$1" && pwd) out=$(cd "$2" && pwd)
shift 2
cd "$(dirname "$0")/../.."
cargo build --release --quiet
if [ ! -d "$out/tiles" ]; then
    rm -rf "$out/tiles.part"
    "${PYTHON:-python3}" scripts/measure/vessels_tiles.py "$data/vessels" "$out/tiles.part"
    mv "$out/tiles.part" "$out/tiles"
fi
# One thread for each of two trainings does more on a software driver than two threads for one.
export LP_NUM_THREADS=1
failed=0
./target/release/wgseg compare configs/compare_lungs.toml --data "$data/lungs" \
    --unlabelled "$data/cxr-unlabelled" --out "$out/lungs" --jobs 2 "$@" || failed=$?
./target/release/wgseg compare configs/compare_vessels.toml --data "$out/tiles" \
    --unlabelled "$out/tiles/unlabelled" --out "$out/vessels" --jobs 2 "$@" || failed=$?
exit "$failed"
