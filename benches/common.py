"""Runs contenders in turn, each in its own process, and prints what the operating system says of them."""

import os
import subprocess
import sys
import tempfile
import time


def once(command, drop=()):
    """Runs a command without some environment variables; returns its seconds, peak memory in MB, and what it printed."""
    env = {name: value for name, value in os.environ.items() if name not in drop}
    start = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command, stdout=out, env=env)
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


def bert_base_random(folder):
    """Writes a random BERT of 12 x 768."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    BertModel(BertConfig(), add_pooling_layer=False).save_pretrained(folder)
