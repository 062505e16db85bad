"""From the start of the process to the first logits, and the most memory on the way, of a model of about 500 MB.

Usage: python benches/loading.py [MODEL ...] [--rounds N] [--nissl PATH of the `loading` example]

Without a model, random ones are made: a GPT-2 of 12 x 768 with a tied head and a Llama with a head of its own, as
32-bit floats. Files are read once before, so that they are in the page cache.
"""

import argparse
import glob
import json
import os
import statistics
import tempfile

import common


def random_models(folder):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config()).save_pretrained(f"{folder}/gpt2")
    sizes = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12}
    LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=26000)).save_pretrained(f"{folder}/llama")
    return [f"{folder}/gpt2", f"{folder}/llama"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nissl", default="target/release/examples/loading")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for model in args.models or random_models(scratch):
            size = 0
            for path in glob.glob(f"{model}/*.safetensors"):
                with open(path, "rb") as file:
                    while block := file.read(1 << 24):
                        size += len(block)
            runs = [common.once([args.nissl, model]) for _ in range(args.rounds)]
            walls = [run["wall"] for run in runs]
            peak = statistics.median(json.loads(run["out"])["peak_mb"] for run in runs)
            print(
                f"{os.path.basename(model)}: {size / 1e6:.0f} MB, whole process {statistics.median(walls):.2f} s (best "
                f"{min(walls):.2f}), CPU {statistics.median(run['cpu'] for run in runs):.2f} s, peak {peak:.0f} MB = "
                f"{peak * 1e6 / size:.2f}x the file"
            )


if __name__ == "__main__":
    main()
