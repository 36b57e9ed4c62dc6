"""Prints the test Dice of each run and their mean and standard deviation.

    python3 scripts/measure/mean_dice.py RUN/seed_0/test.json RUN/seed_1/test.json ...

Each file is what `wgseg evaluate --json` printed; the figure is its dice.mean.
"""

import json
import statistics
import sys


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    dice = []
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as f:
            dice.append(float(json.load(f)["dice"]["mean"]))
        print(f"{path}: Dice {dice[-1]:.4f}")
    if len(dice) > 1:
        print(f"Dice {statistics.mean(dice):.4f} ± {statistics.stdev(dice):.4f} ({len(dice)} runs, mean ± sd)")


if __name__ == "__main__":
    main()
