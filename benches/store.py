"""What methods cost over a store, in reads of the store and beside their peers, on the same activations.

    cargo build --release -p nissl-cli -p nissl-tasks --bins --examples
    nissl extract MPNET en_ewt-ud-test.conllu --sites resid_post --dtype f32 --out mpnet.nissl     # 25,094 x 9,984
    python benches/store.py mpnet.nissl [--by upos] [--scratch FOLDER] [--peers ap,linear,gaussian,compositional]

Peers run on the exported matrix. scikit-learn's average precision, NeuroX's Gaussian probe and the formulas in numpy
take hours: they are timed for some columns or candidates and multiplied out. NeuroX's linear probe is ten epochs of Adam on
batches in order, written here in a few lines, and its objective is compared with ours at the same penalties.
"""

import argparse
import json
import pathlib
import subprocess
import time

import numpy as np

ROOT = pathlib.Path(__file__).parent.parent
BINARY = ROOT / "target/release/examples/store_methods"


def ours(store, by, *flags):
    """The lines that `store_methods` prints."""
    command = [str(part) for part in (BINARY, store, by, *flags)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in text.splitlines()]


def average_precision(x, y, classes, neurons):
    """Seconds of scikit-learn's function for one neuron and one concept."""
    from sklearn.metrics import average_precision_score

    columns = np.ascontiguousarray(x[:, :neurons])
    start = time.perf_counter()
    for neuron in range(neurons):
        for concept in range(classes):
            average_precision_score(y == concept, columns[:, neuron])
    return (time.perf_counter() - start) / neurons / classes


def compositional(x, masks, neurons, alpha=0.005, beam=10, rounds=5):
    """Seconds of a beam search in numpy for one neuron."""
    start = time.perf_counter()
    for neuron in range(neurons):
        column = x[:, neuron]
        fires = column > np.quantile(column, 1 - alpha)

        def scores(formulas):
            both = (formulas & fires).sum(1)
            return both / np.maximum((formulas | fires).sum(1), 1)

        leaf = scores(masks)
        useful = masks[leaf > 0]
        held = [(leaf[idx], masks[idx]) for idx in np.argsort(-leaf)[:beam]]
        for _ in range(rounds - 1):
            new = list(held)
            for _, formula in held:
                takes_away = masks[(masks & formula & ~fires).any(1)]
                for joined in (useful | formula, useful & formula, formula & ~takes_away):
                    found = scores(joined)
                    new += [(found[idx], joined[idx].copy()) for idx in np.argsort(-found)[:beam]]
            new.sort(key=lambda one: -one[0])
            held = new[:beam]
    return (time.perf_counter() - start) / neurons


def standardized(x):
    """Columns with mean 0 and deviation 1, in place."""
    import torch

    for first in range(0, x.shape[1], 512):
        columns = x[:, first : first + 512]
        columns -= columns.mean(0)
        columns /= np.maximum(columns.std(0), 1e-12)
    return torch.from_numpy(x)


def neurox_linear(x, y, classes, l1, l2, epochs, batch=128, lr=1e-3):
    """Seconds an epoch, and the objective of that many."""
    import torch

    torch.manual_seed(0)
    model = torch.nn.Linear(x.shape[1], classes)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    start = time.perf_counter()
    for _ in range(epochs):
        for first in range(0, len(x), batch):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[first : first + batch]), y[first : first + batch])
            weights = model.weight
            loss = loss + l1 * weights.abs().sum() + l2 * (weights**2).sum()
            loss.backward()
            optimizer.step()
    seconds = (time.perf_counter() - start) / epochs
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(x), y)
        weights = model.weight
        return seconds, float(loss + l1 * weights.abs().sum() + l2 * (weights**2).sum())


def neurox_gaussian_candidate(x, y, classes, size):
    """Seconds for one candidate when it would be the neuron number `size`."""
    import torch

    columns = x[:, :size].contiguous()
    there = [c for c in range(classes) if int((y == c).sum()) > 1]
    means = [columns[y == c].mean(0) for c in there]
    covs = [torch.cov(columns[y == c].T).reshape(size, size) + 0.01 * torch.eye(size) for c in there]
    start = time.perf_counter()
    densities = [torch.distributions.MultivariateNormal(m, c).log_prob(columns) for m, c in zip(means, covs)]
    torch.stack(densities).softmax(0)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=pathlib.Path)
    parser.add_argument("--by", default="upos")
    parser.add_argument("--scratch", type=pathlib.Path, default=pathlib.Path("bench-scratch"))
    parser.add_argument("--only", default="", help="our runs, of the names that store_methods has")
    parser.add_argument("--peers", default="ap,linear,gaussian,compositional")
    parser.add_argument("--penalties", default="1e-2,1e-3,1e-4,1e-5")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=50)
    args = parser.parse_args()
    if args.only != "none":
        only = ["--only", args.only] if args.only else []
        for line in ours(args.store, args.by, "--memory", 4096, "--steps", args.steps, *only):
            print("nissl", json.dumps(line), flush=True)
    peers = args.peers.split(",")
    if peers == ["none"]:
        return
    if not (args.scratch / "shape.json").exists():
        shape = ours(args.store, args.by, "--export", args.scratch)[0]
        (args.scratch / "shape.json").write_text(json.dumps(shape))
    shape = json.loads((args.scratch / "shape.json").read_text())
    rows, neurons, classes = shape["rows"], shape["neurons"], shape["classes"]
    y = np.fromfile(args.scratch / "y.u32", np.uint32)
    x = np.memmap(args.scratch / "x.f32", np.float32, "r", shape=(rows, neurons))
    if "ap" in peers:
        each = average_precision(x, y, classes, 4)
        print(f"scikit-learn, average precision of all, multiplied out: {each * neurons * classes:.0f} s", flush=True)
    if "compositional" in peers:
        # As many masks of as many rows as 2,000 words have.
        random = np.random.default_rng(0)
        words = (2000 ** random.random(rows) - 1).astype(int)
        masks = words[None, :] == np.arange(2000)[:, None]
        print(f"numpy, a formula of one neuron: {compositional(np.asarray(x[:, :1]), masks, 1):.2f} s", flush=True)
    if "linear" in peers or "gaussian" in peers:
        import torch

        torch.set_num_threads(2)
        z, of = standardized(np.fromfile(args.scratch / "x.f32", np.float32).reshape(rows, neurons)), torch.from_numpy(y.astype(np.int64))
        for penalty in args.penalties.split(",") if "linear" in peers else []:
            each, objective = neurox_linear(z, of, classes, float(penalty), float(penalty), args.epochs)
            print(f"NeuroX, linear, penalties {penalty}: ten epochs {10 * each:.1f} s, objective after {args.epochs} {objective:.5f}", flush=True)
        if "gaussian" in peers:
            sizes = np.linspace(1, args.steps, 6).astype(int)
            # It fits and picks on all rows that it is given; ours judges on a fifth, and is given the rest to fit on.
            fifth = torch.randperm(rows, generator=torch.Generator().manual_seed(0))[: rows // 5]
            each = [neurox_gaussian_candidate(z[fifth], of[fifth], classes, int(size)) for size in sizes]
            print(f"NeuroX, Gaussian, {args.steps} of all, multiplied out: {np.mean(each) * neurons * args.steps:.0f} s", flush=True)


if __name__ == "__main__":
    main()
