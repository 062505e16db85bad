"""Elastic-net objectives by scikit-learn on random data, for the linear probes.

scikit-learn 1.9, numpy 2.4. Ours is mean loss + l1 Σ|w| + l2 Σw² on standardized columns; scikit-learn's least squares
halve the mean, its logistic regression multiplies the sum of losses by C.
"""

import json
import pathlib

import numpy as np
from sklearn.linear_model import ElasticNet, LogisticRegression

rng = np.random.default_rng(0)
n, d, k = 120, 12, 3
x = rng.normal(size=(n, d)).round(3)
x[:, 3] = (x[:, 0] + 0.2 * rng.normal(size=n)).round(3)
score = x[:, :k] * 1.5 + rng.normal(size=(n, k))
y = score.argmax(1)
target = (x[:, 0] - 0.5 * x[:, 4] + 0.3 * rng.normal(size=n)).round(3)
z = ((x - x.mean(0)) / x.std(0)).astype(np.float32).astype(np.float64)


def log_loss(out):
    out = out - out.max(1, keepdims=True)
    return (np.log(np.exp(out).sum(1)) - out[np.arange(n), y]).mean()


cases = []
for l1, l2 in [(0.01, 0.01), (0.05, 0.001), (0.001, 0.02), (0.02, 0.0), (0.0, 0.01)]:
    # C (Σ loss) + rho |w| + (1 - rho) / 2 w² with 1 / (C n) = l1 + 2 l2 and rho = l1 / (l1 + 2 l2)
    total = l1 + 2 * l2
    model = LogisticRegression(
        l1_ratio=l1 / total, C=1 / (total * n), solver="saga", tol=1e-12, max_iter=200000
    ).fit(z, y)
    w, b = model.coef_, model.intercept_
    value = log_loss(z @ w.T + b) + l1 * np.abs(w).sum() + l2 * (w**2).sum()
    cases.append({"loss": "softmax", "lambda1": l1, "lambda2": l2, "objective": value, "weights": w.tolist()})
    if l1 > 0:
        # 1/2 mean square + alpha rho |w| + alpha (1 - rho) / 2 w², twice
        alpha = (l1 + 2 * l2) / 2
        model = ElasticNet(alpha=alpha, l1_ratio=l1 / (2 * alpha), tol=1e-12, max_iter=1000000).fit(z, target)
        w, b = model.coef_, model.intercept_
        value = ((z @ w + b - target) ** 2).mean() + l1 * np.abs(w).sum() + l2 * (w**2).sum()
        cases.append({"loss": "squared", "lambda1": l1, "lambda2": l2, "objective": value, "weights": [w.tolist()]})

path = pathlib.Path(__file__).parent / "expected.json"
path.write_text(json.dumps({"x": x.tolist(), "classes": y.tolist(), "target": target.tolist(), "cases": cases}) + "\n")
