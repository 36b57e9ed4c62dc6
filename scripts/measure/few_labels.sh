#!/usr/bin/env bash
# Test Dice after training on 20 labelled images (configs/lungs_few.toml): mean ± sd over seeds 0, 1, 2.
#
#   scripts/measure/few_labels.sh DATA RUN [more arguments of `wgseg train`]
#
# DATA is the lungs set with its split.csv, RUN the folder for the runs. With a fixed draw of 20 images:
#   python3 scripts/measure/make_few_split.py DATA/split.csv few.csv
#   scripts/measure/few_labels.sh DATA RUN --set data.split_file=few.csv
# WGSEG names another binary than target/release/wgseg.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
. "$(dirname "${BASH_SOURCE[0]}")/train_and_evaluate.sh"
train_and_evaluate configs/lungs_few.toml "0 1 2" "$@"
