"""k-means of scikit-learn on random neurons: the least inertia of many beginnings, and the groups.

Columns are neurons; some move together, so that the best grouping is one that several beginnings find.
"""

import json

import numpy as np
from sklearn.cluster import KMeans

rng = np.random.default_rng(5)
n_rows, n_neurons = 40, 60
sources = rng.normal(size=(n_rows, 6))
x = sources[:, rng.integers(0, 6, n_neurons)] + 0.6 * rng.normal(size=(n_rows, n_neurons))
x = np.round(x, 3).astype(np.float32)
z = (x - x.mean(0, dtype=np.float64)) / x.std(0, dtype=np.float64)


def best(points, k):
    found = KMeans(n_clusters=k, n_init=300, tol=0, max_iter=1000, random_state=0).fit(points.astype(np.float64))
    return {"inertia": float(found.inertia_), "labels": [int(label) for label in found.labels_]}


cases = {str(k): {"standardized": best(z.T, k), "plain": best(x.T, k)} for k in (2, 6)}
json.dump({"x": x.tolist(), "cases": cases}, open("expected.json", "w"))
