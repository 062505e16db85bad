"""Writes expected.json: distances of 40 points and how scipy joins them, by each linkage.

    python make.py

A join has the first point of either group, their distance, and the points of both. Needs numpy and scipy.
"""

import json
import pathlib

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist


def joins(distances, n, method):
    first = list(range(n))
    found = []
    for a, b, height, size in linkage(distances, method):
        left, right = sorted((first[int(a)], first[int(b)]))
        first.append(left)
        found.append([left, right, float(height), int(size)])
    return found


if __name__ == "__main__":
    n = 40
    points = np.random.default_rng(0).normal(size=(n, 3)) ** 3
    # As they are in 32 bits, so that both join the same.
    distances = np.float32(np.round(pdist(points) / 20, 5)).astype(np.float64)
    assert len(set(distances)) > 700
    expected = {"distances": [round(float(d), 5) for d in distances]}
    expected |= {method: joins(distances, n, method) for method in ("average", "complete", "single")}
    pathlib.Path(__file__).with_name("expected.json").write_text(json.dumps(expected) + "\n")
