#!/usr/bin/env bash
# Test Dice after training on all labelled images (configs/lungs.toml), seed 0.
#
#   scripts/measure/all_labels.sh DATA RUN [more arguments of `wgseg train`]
#
# DATA is the lungs set with its split.csv, RUN the folder for the run.
# WGSEG names another binary than target/release/wgseg.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
. "$(dirname "${BASH_SOURCE[0]}")/train_and_evaluate.sh"
train_and_evaluate configs/lungs.toml "0" "$@"
