"""Runs contenders in turn, each in its own process, and prints what the operating system says of them."""

import os
import statistics
import subprocess
import sys
import tempfile
import time


def once(command, env=None):
    """Runs a command; returns wall and CPU seconds, peak memory in MB, and what it printed."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command, stdout=out, env={**os.environ, **(env or {})})
        _, status, usage = os.wait4(child.pid, 0)
        out.seek(0)
        text = out.read().decode()
    if status != 0:
        sys.exit(f"{' '.join(command)} ended with status {status}")
    return {
        "wall": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "rss": usage.ru_maxrss / 1024,
        "out": text,
    }


def in_turn(contenders, rounds):
    """Runs every contender `rounds` times in turn; returns the median of each figure and the last output."""
    results = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, command in contenders.items():
            command() if callable(command) else results[name].append(once(command))
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in ("wall", "cpu", "rss")} | {"out": runs[-1]["out"]}
        for name, runs in results.items()
        if runs
    }


def bert_base_random(folder):
    """Writes a random BERT of 12 x 768."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    BertModel(BertConfig(), add_pooling_layer=False).save_pretrained(folder)
