#!/usr/bin/env bash
# Lays the DRIVE vessels set out as one data folder for configs/compare_vessels.toml.
#
#   scripts/measure/vessels_folder.sh DIR OUT
#
# DIR holds training/ and test/, each with images/ and masks/. OUT, which must not exist, gets images/,
# masks/ and split.csv: of the training images, by name, the first 5 are `train`, the next 7 `val` and
# the others `unused`; all test images are `test`. The unused ones are in OUT/unlabelled/ too:
#   wgseg compare configs/compare_vessels.toml --data OUT --unlabelled OUT/unlabelled --out RUN
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }
dir=$1 out=$2
train=5 val=7
[ ! -e "$out" ] || { echo "$out exists; choose another folder" >&2; exit 1; }
for part in training test; do
  for kind in images masks; do
    [ -d "$dir/$part/$kind" ] || { echo "there is no folder $dir/$part/$kind" >&2; exit 1; }
  done
done
mkdir -p "$out/images" "$out/masks" "$out/unlabelled"
echo id,split > "$out/split.csv"
# Names must sort alike on every machine.
export LC_ALL=C
number=0
for part in training test; do
  for image in "$dir/$part/images"/*; do
    name=${image##*/}
    if [ "$part" = test ]; then split=test
    elif [ "$number" -lt "$train" ]; then split=train
    elif [ "$number" -lt $((train + val)) ]; then split=val
    else split=unused; cp "$image" "$out/unlabelled/"
    fi
    number=$((number + 1))
    cp "$image" "$out/images/"
    cp "$dir/$part/masks/$name" "$out/masks/"
    echo "${name%.*},$split" >> "$out/split.csv"
  done
done
chmod -R u+w "$out"
echo "$(cut -d, -f2 "$out/split.csv" | tail -n +2 | sort | uniq -c | tr -s ' \n' ' ')in $out"
