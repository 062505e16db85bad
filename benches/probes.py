"""Times the probes against what NeuroX does, on one matrix with planted classes.

    python benches/probes.py FOLDER [--rows 25000] [--neurons 9216] [--classes 17]

NeuroX's linear probe is ten epochs of Adam on batches in order, its Gaussian probe a density a class and candidate for
every neuron and step; both are written here in a few lines, and the second is timed for a few candidates and multiplied
out. Needs torch, numpy, and `cargo build --release -p nissl-methods --example probe_speed`.
"""

import argparse
import json
import pathlib
import subprocess
import time

import numpy as np
import torch


def matrix(folder, n, d, k, seed=0):
    """Correlated neurons, classes of a treebank's shares, a class signal in a few directions."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, k + 1)
    y = rng.choice(k, n, p=share / share.sum()).astype(np.uint32)
    rank = 200
    mix = rng.normal(size=(rank, d)).astype(np.float32) * (1 / np.sqrt(1 + np.arange(rank)))[:, None].astype(np.float32)
    means = rng.normal(size=(k, rank)).astype(np.float32)
    x = (rng.normal(size=(n, rank)).astype(np.float32) + 0.7 * means[y]) @ mix
    x += rng.normal(size=(n, d)).astype(np.float32)
    x.tofile(folder / "x.f32")
    y.tofile(folder / "y.u32")
    return x, y


def objective(x, y, weights, bias, l1, l2):
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(x @ weights.T + bias, y)
        return float(loss + l1 * weights.abs().sum() + l2 * (weights**2).sum())


def neurox_linear(x, y, k, l1, l2, batch=128, epochs=10, lr=1e-3):
    torch.manual_seed(0)
    model = torch.nn.Linear(x.shape[1], k)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    start = time.time()
    for _ in range(epochs):
        for first in range(0, len(x), batch):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[first : first + batch]), y[first : first + batch])
            weights = model.weight
            loss = loss + l1 * weights.abs().sum() + l2 * (weights**2).sum()
            loss.backward()
            optimizer.step()
    return time.time() - start, model.weight.detach(), model.bias.detach()


def neurox_gaussian_candidate(x, y, k, size):
    """Seconds for one candidate when it would be the neuron number `size`."""
    means = [x[y == c][:, :size].mean(0) for c in range(k)]
    covs = [torch.cov(x[y == c][:, :size].T).reshape(size, size) + 0.01 * torch.eye(size) for c in range(k)]
    start = time.time()
    columns = x[:, :size]
    densities = [torch.distributions.MultivariateNormal(m, c).log_prob(columns) for m, c in zip(means, covs)]
    torch.stack(densities).softmax(0)
    return time.time() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=25000)
    parser.add_argument("--neurons", type=int, default=9216)
    parser.add_argument("--classes", type=int, default=17)
    parser.add_argument("--lambda1", type=float, default=1e-3)
    parser.add_argument("--lambda2", type=float, default=1e-3)
    parser.add_argument("--steps", type=int, default=50)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    x, y = matrix(args.folder, args.rows, args.neurons, args.classes)
    binary = pathlib.Path(__file__).parent.parent / "target/release/examples/probe_speed"
    command = [binary, args.folder, args.rows, args.neurons, args.classes, args.lambda1, args.lambda2, args.steps]
    for line in subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout.split("\n"):
        if line:
            print("nissl", json.loads(line))
    torch.set_num_threads(2)
    z = torch.from_numpy((x - x.mean(0)) / x.std(0))
    labels = torch.from_numpy(y.astype(np.int64))
    ours = np.fromfile(args.folder / "weights.f64")
    weights = torch.from_numpy(ours[: args.classes * args.neurons].reshape(args.classes, -1).astype(np.float32))
    bias = torch.from_numpy(ours[args.classes * args.neurons :].astype(np.float32))
    print("nissl objective", objective(z, labels, weights, bias, args.lambda1, args.lambda2))
    seconds, weights, bias = neurox_linear(z, labels, args.classes, args.lambda1, args.lambda2)
    print("ten epochs", seconds, "s, objective", objective(z, labels, weights, bias, args.lambda1, args.lambda2))
    if args.steps:
        sizes = np.linspace(1, args.steps, 6).astype(int)
        fifth = len(z) // 5
        each = [neurox_gaussian_candidate(z[:fifth], labels[:fifth], args.classes, int(size)) for size in sizes]
        print("gaussian, multiplied out", float(np.mean(each)) * args.neurons * args.steps, "s; a candidate", each)


if __name__ == "__main__":
    main()
