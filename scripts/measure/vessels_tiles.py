#!/usr/bin/env python3
"""Cuts the DRIVE vessels set into tiles for configs/compare_vessels.toml. Needs Pillow.

    scripts/measure/vessels_tiles.py DIR OUT

DIR holds training/ and test/, each with images/ and masks/. Vessels are a pixel or two wide, so
whole images cannot be made small: each is halved, and the middle 256 x 256 pixels of that are cut
into 16 tiles of 64 x 64. OUT, which must not exist, gets images/, masks/, unlabelled/ and split.csv:
of the training images, by name, the first 5 are `train`, the next 7 `val`, and the tiles of the
others (7 where there are 19) are in unlabelled/ without their masks; all test images are `test`. The column `patient` names the
image of a tile: tiles of one eye are alike, and the report counts eyes.
    wgseg compare configs/compare_vessels.toml --data OUT --unlabelled OUT/unlabelled --out RUN
"""
import sys
from pathlib import Path

from PIL import Image

TRAIN, VAL, TILE, TILES = 5, 7, 64, 4


def tiles(path, resample):
    image = Image.open(path).convert("L")
    image = image.resize((image.width // 2, image.height // 2), resample)
    left, top = (image.width - TILE * TILES) // 2, (image.height - TILE * TILES) // 2
    for row in range(TILES):
        for column in range(TILES):
            x, y = left + column * TILE, top + row * TILE
            yield f"{row}{column}", image.crop((x, y, x + TILE, y + TILE))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    for folder in ["images", "masks", "unlabelled"]:
        (out / folder).mkdir(parents=True)
    rows = []
    for part in ["training", "test"]:
        for number, image in enumerate(sorted((source / part / "images").iterdir())):
            split = "test" if part == "test" else "train" if number < TRAIN else "val"
            labelled = part == "test" or number < TRAIN + VAL
            for place, tile in tiles(image, Image.Resampling.BOX):
                name = f"{image.stem}_{place}"
                tile.save(out / ("images" if labelled else "unlabelled") / f"{name}.png")
                if labelled:
                    rows.append(f"{name},{split},{part}_{image.stem}")
            if labelled:
                mask = source / part / "masks" / image.name
                for place, tile in tiles(mask, Image.Resampling.BOX):
                    # Half of a pixel's four must be vessel.
                    tile.point(lambda v: 255 if v >= 127 else 0).save(out / "masks" / f"{image.stem}_{place}.png")
    (out / "split.csv").write_text("\n".join(["id,split,patient", *rows]) + "\n")
    print(f"{len(rows)} tiles in {out}")


main()
