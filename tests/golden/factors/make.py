"""Factors of a small matrix by scikit-learn: the least error over many beginnings.

    python make.py
"""

import json

import numpy as np
from sklearn.decomposition import NMF

rng = np.random.default_rng(0)
words, neurons, k = 30, 20, 4
x = rng.gamma(1.0, size=(words, k)) @ rng.gamma(0.6, size=(k, neurons)) + 0.3 * rng.normal(size=(words, neurons))
x = np.round(x.astype(np.float32), 4)
a = np.maximum(x.astype(np.float64), 0)
errors = {}
for factors in (2, 4):
    runs = [
        NMF(factors, init="random", solver="cd", tol=1e-10, max_iter=20000, random_state=seed).fit(a)
        for seed in range(20)
    ]
    errors[str(factors)] = min(run.reconstruction_err_ for run in runs) / np.linalg.norm(a)
json.dump({"x": [[float(f"{v:.4f}") for v in row] for row in x], "errors": errors}, open("expected.json", "w"))
print(errors)
