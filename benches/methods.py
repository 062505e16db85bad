"""What methods cost beside scikit-learn and numpy: seconds of one run, on random data of one shape.

    cargo bench -p nissl-methods --bench methods --no-run
    python benches/methods.py [--threads N]

Ours are the seconds that `cargo bench -p nissl-methods` prints for 25,000 rows, 2,000 neurons and 17 concepts. The peers
run on as few neurons as take some seconds, and are multiplied up: average precision by scikit-learn's function, once for
each neuron and concept; compositional explanations in numpy, masks of 2,000 words as rows of one matrix, each operator
over all of them at once, beam 10, five rounds.
"""

import argparse
import os
import re
import subprocess
import time

import numpy as np

ROWS, NEURONS, CONCEPTS, WORDS = 25_000, 2_000, 17, 2_000


def ours(threads):
    """Seconds by the name of the run."""
    command = ["cargo", "bench", "-q", "-p", "nissl-methods", "--bench", "methods"]
    env = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    text = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    found = re.findall(r"^(\S.*?)\s{2,}([\d.]+)\s+([\d.]+)$", text, re.M)
    return {name: (float(seconds), float(reads)) for name, seconds, reads in found}


def average_precision(neurons):
    """Seconds of scikit-learn's function for one neuron and one concept."""
    from sklearn.metrics import average_precision_score

    random = np.random.default_rng(0)
    values = random.standard_normal((ROWS, neurons)).astype(np.float32)
    labels = random.integers(CONCEPTS, size=ROWS)
    start = time.perf_counter()
    for neuron in range(neurons):
        for concept in range(CONCEPTS):
            average_precision_score(labels == concept, values[:, neuron])
    return (time.perf_counter() - start) / neurons / CONCEPTS


def compositional(neurons, beam=10, rounds=5):
    """Seconds of a beam search in numpy for one neuron."""
    random = np.random.default_rng(0)
    words = (WORDS ** random.random(ROWS) - 1).astype(int)
    masks = words[None, :] == np.arange(WORDS)[:, None]
    masks = masks[masks.sum(1) >= 5]
    values = random.standard_normal((ROWS, neurons)).astype(np.float32)
    start = time.perf_counter()
    for neuron in range(neurons):
        column = values[:, neuron]
        fires = column > np.quantile(column, 0.995)

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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    seconds = ours(threads)
    for name, (total, reads) in seconds.items():
        print(f"{name:<42} {total:9.3f} s {reads:8.1f} reads of the matrix")
    peers = {
        "average-precision": average_precision(4) * NEURONS * CONCEPTS,
        'compositional {"rounds":5}': compositional(1) * NEURONS,
    }
    for name, peer in peers.items():
        print(f"{name}: peer {peer:.0f} s (multiplied up), {peer / seconds[name][0]:.0f} times ours")


if __name__ == "__main__":
    main()
