"""Writes a split.csv whose `train` holds only a fixed draw of images; `val` and `test` stay as they are.

    python3 scripts/measure/make_few_split.py DIR/split.csv few.csv [--train 20]
    wgseg train configs/lungs_few.toml --set data.split_file=few.csv ...

The draw: the ids of `train`, sorted, shuffled with Python's random.Random(0), the first --train of them.
Rows of `train` that are not drawn become `unused`.
"""

import argparse
import csv
import random
import sys


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("split", help="the split.csv of the data folder")
    a.add_argument("out", help="the file to write")
    a.add_argument("--train", type=int, default=20, help="how many images to draw (20)")
    o = a.parse_args()
    with open(o.split, newline="", encoding="utf-8-sig") as f:
        reader = csv.DictReader(f)
        rows, fields = list(reader), reader.fieldnames or []
    if not {"id", "split"} <= set(fields):
        sys.exit(f"{o.split}: needs the columns id and split, has {', '.join(fields) or 'none'}")
    train = sorted(r["id"] for r in rows if r["split"] == "train")
    if not 0 < o.train <= len(train):
        sys.exit(f"{o.split}: --train {o.train}, but there are {len(train)} images of split train")
    random.Random(0).shuffle(train)
    drawn = set(train[: o.train])
    for row in rows:
        if row["split"] == "train" and row["id"] not in drawn:
            row["split"] = "unused"
    with open(o.out, "w", newline="", encoding="utf-8") as f:
        w = csv.DictWriter(f, fields, lineterminator="\n")
        w.writeheader()
        w.writerows(rows)


if __name__ == "__main__":
    main()
