"""What few neurons tell, 10 numbers of neurons x 5 seeds x all concepts: `nissl evaluate`, and one fit of scikit-learn each.

    cargo build --release -p nissl-cli -p nissl-tasks --bins --examples
    python benches/curves.py mpnet.nissl [--by upos] [--scratch FOLDER] [--concepts 2]

scikit-learn fits every number of neurons by itself, on the same rows' shares (85 of 100), with classes of one weight: its
linear discriminant, which is the classifier of `nissl evaluate`, and logistic regression, which most probes are. It is
timed for some concepts of one seed and multiplied out; the activations lie in memory for it, as floats of 32 bits.
"""

import argparse
import json
import pathlib
import time

import numpy as np

import common
from store import BINARY, ROOT

NISSL = ROOT / "target/release/nissl"
K = [1, 2, 5, 10, 20, 30, 40, 50, 70, 100]
SEEDS = 5


def ours(store, by, ranking):
    """Seconds of all seeds, concepts and numbers, and the mean accuracy of the first seed."""
    flags = ["--by", by, "--k", ",".join(map(str, K)), "--random-sets", "0", "--no-control", "--draws", "0", "--json", "-q"]
    runs = [common.once([str(NISSL), "evaluate", store, str(ranking), *flags, "--seed", str(seed)]) for seed in range(SEEDS)]
    report = json.loads(runs[0]["out"])
    return sum(run["wall"] for run in runs), report


def theirs(make, x, has, columns):
    """Seconds of the fits of one concept, and balanced accuracy with all columns."""
    from sklearn.metrics import balanced_accuracy_score

    order = np.random.default_rng(0).permutation(len(x))
    fit, test = order[: len(x) * 85 // 100], order[len(x) * 85 // 100 :]
    x = np.ascontiguousarray(x[:, columns])
    start = time.perf_counter()
    for k in K:
        model = make().fit(x[fit, :k], has[fit])
        found = balanced_accuracy_score(has[test], model.predict(x[test, :k]))
    return time.perf_counter() - start, found


def main():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--by", default="upos")
    parser.add_argument("--scratch", type=pathlib.Path, default=pathlib.Path("bench-scratch"))
    parser.add_argument("--concepts", type=int, default=2)
    args = parser.parse_args()
    ranks = args.scratch / "ranks"
    common.once([str(NISSL), "rank", args.store, "--by", args.by, "--method", "probeless", "--out", str(ranks), "-q", "--json"])
    seconds, report = ours(args.store, args.by, ranks / "probeless.parquet")
    concepts = report["concepts"]
    print(f"nissl: {seconds:.1f} s for {len(K)} x {SEEDS} x {len(concepts)} classifiers", flush=True)

    if not (args.scratch / "shape.json").exists():
        out = common.once([str(BINARY), args.store, args.by, "--export", str(args.scratch)])["out"]
        (args.scratch / "shape.json").write_text(out.splitlines()[0])
    shape = json.loads((args.scratch / "shape.json").read_text())
    x = np.fromfile(args.scratch / "x.f32", np.float32).reshape(shape["rows"], shape["neurons"])
    y = np.fromfile(args.scratch / "y.u32", np.uint32)
    peers = {
        "linear discriminant": lambda: LinearDiscriminantAnalysis(solver="lsqr", priors=[0.5, 0.5]),
        "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=200)),
    }
    classes = np.argsort(-np.bincount(y[y < shape["classes"]]))[: args.concepts]
    for name, make in peers.items():
        spent = []
        for c in classes:
            # The neurons that differ most by the concept, in any order near that of the ranking.
            has = y == c
            gap = np.abs(x[has].mean(0) - x[~has].mean(0))
            spent.append(theirs(make, x, has, np.argsort(-gap)[: K[-1]]))
        whole = np.mean([one for one, _ in spent]) * SEEDS * len(concepts)
        accuracy = np.mean([one for _, one in spent])
        print(f"scikit-learn, {name}: {whole:.0f} s, {whole / seconds:.0f}x; balanced accuracy with {K[-1]}: {accuracy:.3f}", flush=True)
    means = [ranking["best"][-1] for ranking in report["rankings"]]
    print(f"nissl's balanced accuracy with {K[-1]}, all concepts: {means[0]:.3f}")


if __name__ == "__main__":
    main()
