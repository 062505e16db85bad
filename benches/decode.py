"""Decoding, one token after the other at batch 1: nissl and its peers on the same weights, one and two threads.

Usage: python benches/decode.py MODEL.gguf [--tokens N] [--rounds N] [--peer NAME=COMMAND ...]

nissl decodes with the weights as 32-bit floats and as they are stored, with idle hooks and with one neuron edited.
A peer is a command that prints a line of JSON with `tokens_s`; {model}, {threads} and {tokens} are filled in, and
`OMP_NUM_THREADS` and `RAYON_NUM_THREADS` are set. Contenders take turns, each in a process of its own.

`--peer llama.cpp=builtin` runs llama.cpp by the package llama-cpp-python of the Python at hand.
"""

import argparse
import json
import os
import shlex
import statistics
import sys

import common

LLAMA = """
import json, sys, time
from llama_cpp import Llama
path, threads, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = Llama(path, n_threads=threads, n_threads_batch=threads, n_ctx=512, verbose=False)
d_vocab = model.n_vocab()
best = 0
for _ in range(3):
    model.reset()
    model.eval([i * 7919 % d_vocab for i in range(8)])
    token, start = 1, time.perf_counter()
    for _ in range(n):
        token = (token * 31 + 7) % d_vocab
        model.eval([token])
    best = max(best, n / (time.perf_counter() - start))
print(json.dumps({"tokens_s": best}))
"""


def rates(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nissl", default="target/release/examples/decode")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND")
    args = parser.parse_args()
    seen = {}
    for _ in range(args.rounds):
        for name, flags in (("nissl, f32", []), ("nissl, native", ["--native"])):
            command = [args.nissl, args.model, str(args.tokens), "3", "--json", *flags]
            for line in rates(common.once(command)["out"]):
                seen.setdefault((name, line["threads"]), []).append(line["best"])
                seen.setdefault((f"{name}, one neuron edited", line["threads"]), []).append(line["edited_best"])
        for threads in (1, 2):
            os.environ.update(OMP_NUM_THREADS=str(threads), RAYON_NUM_THREADS=str(threads))
            for peer in args.peer:
                name, _, command = peer.partition("=")
                values = {"model": args.model, "threads": threads, "tokens": args.tokens}
                if command == "builtin":
                    command = [sys.executable, "-c", LLAMA, *map(str, values.values())]
                else:
                    command = [part.format(**values) for part in shlex.split(command)]
                for line in rates(common.once(command)["out"]):
                    seen.setdefault((name, threads), []).append(line["tokens_s"])
            for variable in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
                del os.environ[variable]
    print(f"tokens a second, medians of {args.rounds} rounds of the best of three")
    for (name, threads), values in sorted(seen.items()):
        print(f"  {name:36} {threads} threads {statistics.median(values):8.1f}")


if __name__ == "__main__":
    main()
