"""Writes a split.csv whose `train` holds only a fixed draw of images; `val` and `test` stay as they are.

    python3 scripts/measure/make_few_split.py DIR/split.csv few.csv [--train 20]
    wgseg train configs/lungs_few.toml --set data.split_file=few.csv ...

The draw: the ids of `train`, sorted, shuffled with Python's random.Random(0), the first --train of them.
Rows of `train` that are not drawn are left out. With --folder FEW a data folder is made as well, with links
to just the images and masks that the new split lists and the split itself: use it in place of DIR.
"""

import argparse
import csv
import os
import random
import sys


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("split", help="the split.csv of the data folder")
    a.add_argument("out", help="the file to write")
    a.add_argument("--train", type=int, default=20, help="how many images to draw (20)")
    a.add_argument("--folder", metavar="FEW", help="make this data folder too")
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
    kept = [r for r in rows if r["split"] != "train" or r["id"] in drawn]
    write(o.out, fields, kept)
    if o.folder:
        link(os.path.dirname(os.path.abspath(o.split)), o.folder, {r["id"] for r in kept})
        write(os.path.join(o.folder, "split.csv"), fields, kept)


def write(path, fields, rows):
    with open(path, "w", newline="", encoding="utf-8") as f:
        w = csv.DictWriter(f, fields, lineterminator="\n")
        w.writeheader()
        w.writerows(rows)


def link(source, folder, ids):
    for part in ("images", "masks"):
        os.makedirs(os.path.join(folder, part))
        for name in sorted(os.listdir(os.path.join(source, part))):
            if os.path.splitext(name)[0] in ids:
                os.symlink(os.path.join(source, part, name), os.path.join(folder, part, name))


if __name__ == "__main__":
    main()
