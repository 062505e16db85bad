"""The forward pass alone, 32 x 64 tokens, one and two threads: nissl, PyTorch eager, PyTorch SDPA, and sgemm.

sgemm is the better of PyTorch's and numpy's library; `OPENBLAS_CORETYPE` is taken out of numpy's environment, so that it
uses what the processor has.

Usage: python benches/forward.py MODEL [MODEL ...] [--rounds N] [--nissl PATH of the `forward` example]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time

import common

TORCH = """
import json, sys, time, torch
from transformers import AutoModel
torch.set_grad_enabled(False)
path, implementation, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
model = AutoModel.from_pretrained(path, attn_implementation=implementation).eval()
ids = (torch.arange(32 * 64) * 7919 % model.config.vocab_size).reshape(32, 64)
for threads in (1, 2):
    torch.set_num_threads(threads)
    model(input_ids=ids)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        model(input_ids=ids)
        times.append(time.perf_counter() - start)
    print(json.dumps({"threads": threads, "ms": sorted(times)[len(times) // 2] * 1e3, "best": min(times) * 1e3}))
"""

SGEMM = """
import json, time, numpy, torch
from threadpoolctl import threadpool_limits
a, b = torch.randn(2048, 1536), torch.randn(1536, 4096)
x, y = a.numpy(), b.numpy()
for threads in (1, 2):
    torch.set_num_threads(threads)
    rates = []
    with threadpool_limits(threads):
        for product in (lambda: a @ b, lambda: x @ y):
            product()
            best = 1e9
            for _ in range(8):
                start = time.perf_counter()
                product()
                best = min(best, time.perf_counter() - start)
            rates.append(2 * 2048 * 1536 * 4096 / best / 1e9)
    print(json.dumps({"threads": threads, "gflops": max(rates)}))
"""


def lines(output):
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--nissl", default="target/release/examples/forward")
    args = parser.parse_args()
    for model in args.models:
        folder = model
        if model == "bert-base-random":
            folder = tempfile.mkdtemp()
            common.bert_base_random(folder)
        contenders = {
            "nissl": [args.nissl, folder, "32", "64", str(args.repeats), "--json"],
            "torch eager": [sys.executable, "-c", TORCH, folder, "eager", str(args.repeats)],
            "torch sdpa": [sys.executable, "-c", TORCH, folder, "sdpa", str(args.repeats)],
            "sgemm": [sys.executable, "-c", SGEMM],
        }
        seen = {(name, threads): [] for name in contenders for threads in (1, 2)}
        for _ in range(args.rounds):
            for name, command in contenders.items():
                for line in lines(common.once(command, drop=("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"))["out"]):
                    seen[name, line["threads"]].append(line)
        print(f"\n{model}: 32 x 64 tokens, medians of {args.rounds} rounds of {args.repeats}")
        for threads in (1, 2):
            median = {name: statistics.median(l.get("ms", 0) for l in seen[name, threads]) for name in contenders}
            rate = statistics.median(l["gflops"] for l in seen["nissl", threads])
            sgemm = max(l["gflops"] for l in seen["sgemm", threads])
            peer = min(median["torch eager"], median["torch sdpa"])
            print(
                f"  {threads} threads: nissl {median['nissl']:.1f} ms, eager {median['torch eager']:.1f} ms, "
                f"sdpa {median['torch sdpa']:.1f} ms: {peer / median['nissl']:.2f}x the better; "
                f"nissl {rate:.0f} GFLOP/s = {rate / sgemm:.0%} of sgemm's best {sgemm:.0f}"
            )


if __name__ == "__main__":
    main()
