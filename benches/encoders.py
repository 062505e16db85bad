"""The forward pass of every encoder family, 32 x 64 tokens, against transformers eager: random models of 6 x 384.

Usage: python benches/encoders.py [FAMILY ...] [--repeats N] [--nissl PATH of the `forward` example]
"""

import argparse
import sys
import tempfile

import common
from forward import TORCH, lines

SIZES = dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, vocab_size=30522)
LENGTH = dict(max_position_embeddings=514)
FAMILIES = {
    "bert": ("Bert", {**SIZES, **LENGTH}),
    "roberta": ("Roberta", {**SIZES, **LENGTH}),
    "distilbert": (
        "DistilBert",
        dict(dim=384, n_layers=6, n_heads=12, hidden_dim=1536, vocab_size=30522, max_position_embeddings=514),
    ),
    "electra": ("Electra", {**SIZES, **LENGTH, "embedding_size": 128}),
    "albert": ("Albert", {**SIZES, **LENGTH, "embedding_size": 128}),
    "mpnet": ("MPNet", {**SIZES, **LENGTH}),
    "esm": (
        "Esm",
        {**SIZES, **LENGTH, "position_embedding_type": "rotary", "pad_token_id": 1, "mask_token_id": 32},
    ),
    "deberta-v2": (
        "DebertaV2",
        {
            **SIZES,
            **LENGTH,
            "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"],
            "position_buckets": 256,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
        },
    ),
    "xlnet": ("XLNet", dict(d_model=384, n_layer=6, n_head=12, d_inner=1536, vocab_size=30522)),
    "modernbert": ("ModernBert", {**SIZES, "vocab_size": 50368}),
}


def make(family, folder):
    """Writes a random model of a family."""
    import torch
    import transformers

    torch.manual_seed(0)
    name, fields = FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(**fields)
    getattr(transformers, f"{name}Model")._from_config(config).save_pretrained(folder)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*", default=[])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--nissl", default="target/release/examples/forward")
    args = parser.parse_args()
    folders = {}
    for family in args.families or FAMILIES:
        folders[family] = tempfile.mkdtemp()
        make(family, folders[family])
    print("family | nissl ms, 1 and 2 threads | eager ms | times faster")
    for family, folder in folders.items():
        ours = lines(common.once([args.nissl, folder, "32", "64", str(args.repeats), "--json"])["out"])
        eager = lines(common.once([sys.executable, "-c", TORCH, folder, "eager", str(args.repeats)])["out"])
        ms = [[line["ms"] for line in both] for both in (ours, eager)]
        shown = [", ".join(f"{time:.1f}" for time in times) for times in ms]
        ratios = ", ".join(f"{theirs / own:.2f}x" for own, theirs in zip(*ms))
        print(f"{family} | {shown[0]} | {shown[1]} | {ratios}", flush=True)


if __name__ == "__main__":
    main()
