"""Trains the same small GPT-2 with nissl and with PyTorch: same first weights, same windows in the same order, same
batch, learning rate and AdamW. Prints the losses of both, and their speed.

    python benches/train.py --nissl target/release/nissl --text a.txt b.txt --out /somewhere/empty

It needs torch and transformers. The second half of nissl's run is made after a kill, to see that it ends the same.
"""

import argparse
import json
import math
import os
import signal
import subprocess
import time

import numpy as np
import torch
from transformers import GPT2LMHeadModel

U64 = (1 << 64) - 1


def mix(x):
    """SplitMix64, as the order of the windows is drawn."""
    x = (x + 0x9E3779B97F4A7C15) & U64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & U64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & U64
    return x ^ (x >> 31)


def order(windows, seed, epoch):
    own = mix((seed + mix(epoch)) & U64)
    return sorted(windows, key=lambda window: (mix(own ^ window), window))


def rate(config, step):
    schedule, steps = config["schedule"], config["steps"]
    top, warmup, floor = schedule["learning_rate"], schedule["warmup"], schedule["floor"]
    if step < warmup:
        return top * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))
    return top * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


def torch_losses(out, config, context):
    tokens = np.fromfile(out / "tokens.u32", dtype="<u4").astype(np.int64)
    n = (len(tokens) - 1) // context
    hold = config["held_out"]
    windows = [w for w in range(n) if not (hold and w % hold == hold - 1)]
    held_out = [w for w in range(n) if hold and w % hold == hold - 1]
    held_out = held_out[:: -(-len(held_out) // config["eval_windows"])]
    model = GPT2LMHeadModel.from_pretrained(out / "step-00000000", torch_dtype=torch.float32).train()
    adamw = config["optimizer"]
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": adamw["weight_decay"]},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(adamw["beta1"], adamw["beta2"]), eps=adamw["eps"])

    def run(some):
        at = np.stack([tokens[w * context : w * context + context + 1] for w in some])
        x = torch.from_numpy(at)
        logits = model(input_ids=x[:, :-1]).logits
        return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), x[:, 1:].reshape(-1))

    losses, start, epochs = [], time.time(), {}
    for step in range(config["steps"]):
        places = range(step * config["batch"], (step + 1) * config["batch"])
        for epoch in {place // len(windows) for place in places} - set(epochs):
            epochs[epoch] = order(windows, config["seed"], epoch)
        loss = run([epochs[place // len(windows)][place % len(windows)] for place in places])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), adamw["max_norm"])
        for group in optimizer.param_groups:
            group["lr"] = rate(config, step)
        optimizer.step()
        losses.append(loss.item())
    seconds = time.time() - start
    model.eval()
    with torch.no_grad():
        parts = [held_out[i : i + 16] for i in range(0, len(held_out), 16)]
        held = sum(run(part).item() * len(part) for part in parts) / len(held_out)
    return losses, held, config["steps"] * config["batch"] * context / seconds


def main():
    from pathlib import Path

    parser = argparse.ArgumentParser()
    parser.add_argument("--nissl", type=Path, required=True)
    parser.add_argument("--text", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    command = [args.nissl, "train", *args.text, "--steps", str(args.steps), "--layers", "2", "--width", "128"]
    command += ["--keep-all", "--save-every", str(args.steps // 4), "--threads", str(args.threads), "--json", "-q"]
    whole, cut = args.out / "whole", args.out / "cut"
    report = json.loads(subprocess.run([*command, "--out", whole], check=True, capture_output=True).stdout)

    # Killed without warning once the first step is saved, then given again.
    process = subprocess.Popen([*command, "--out", cut], stdout=subprocess.DEVNULL)
    first = cut / f"step-{args.steps // 4:08}"
    while process.poll() is None and not first.exists():
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    again = json.loads(subprocess.run([*command, "--out", cut], check=True, capture_output=True).stdout)
    same = (whole / "model/model.safetensors").read_bytes() == (cut / "model/model.safetensors").read_bytes()
    print(f"killed, resumed at step {again['resumed_at']}: {'the same bytes' if same else 'DIFFERENT WEIGHTS'}")

    config = report["config"]
    losses, held_out, speed = torch_losses(whole, config, report["context"])
    ours = {point["step"]: point["loss"] for point in report["history"]["points"]}
    print("step   nissl     PyTorch   difference")
    each = report["history"]["points"][0]["step"]
    for step in sorted({max(each, s // each * each) for s in [1, 10, 50, *range(0, args.steps + 1, args.steps // 8)]}):
        theirs = float(np.mean(losses[step - each : step]))
        print(f"{step:5}  {ours[step]:.5f}  {theirs:.5f}  {abs(ours[step] / theirs - 1):.2e}")
    print(f"held out: nissl {report['held_out_loss']:.5f}, PyTorch {held_out:.5f}, "
          f"difference {abs(report['held_out_loss'] / held_out - 1):.2e}")
    print(f"tokens a second: nissl {report['tokens_per_second']:.0f}, PyTorch {speed:.0f}, "
          f"ratio {report['tokens_per_second'] / speed:.2f}")


if __name__ == "__main__":
    main()
