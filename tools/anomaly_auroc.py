#!/usr/bin/env python3
"""How well a model's anomaly scores tell good pictures from others: the area under the ROC curve.

    sightline detect --model plates --json good/ > good.jsonl
    sightline detect --model plates --json scratched/ > scratched.jsonl
    python tools/anomaly_auroc.py good.jsonl scratched.jsonl ...

The first file is of good pictures that the model was not fitted to; each of the others is compared with it, and then all
of them together. 1 is all others above all good ones, 0.5 is chance. Nothing but Python's own library is needed.
"""

import json
import sys


def scores_of(path):
    with open(path, encoding="utf-8") as lines:
        scores = [json.loads(line)["anomaly"]["score"] for line in lines]
    if not scores:
        sys.exit(f"{path}: no pictures")
    return scores


def auroc(good, bad):
    """The share of pairs in which the bad picture has the larger score; equal ones count half."""
    return sum((b > g) + (b == g) / 2 for g in good for b in bad) / (len(good) * len(bad))


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    good, together = scores_of(sys.argv[1]), []
    for path in sys.argv[2:]:
        bad = scores_of(path)
        together += bad
        print(f"{path}: AUROC {auroc(good, bad):.3f}, {len(good)} good and {len(bad)} other pictures")
    if len(sys.argv) > 3:
        print(f"together: AUROC {auroc(good, together):.3f}, {len(good)} good and {len(together)} other pictures")


main()
