"""The forward pass of every family of decoders, encoder-decoders and recurrent models, 32 x 64 tokens, one and two
threads: nissl and transformers eager, torch.nn of LSTM and GRU, or the package of RWKV's authors (`pip install rwkv`), which
takes a text at a time.

A random model of 4 x 256 of each is made in a temporary folder. One process has PyTorch; for every family it and nissl
take turns, a process of nissl each time. Quote ratios, not times.

Usage: python benches/families.py [FAMILY ...] [--rounds N] [--nissl PATH of the `forward` example]
"""

import argparse
import importlib
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import torch
import transformers
from safetensors.torch import save_file

import common

BASE = {"vocab_size": 1000, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
LLAMA = BASE | {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 704,
    "max_position_embeddings": 256,
}
GPT = BASE | {"n_embd": 256, "n_layer": 4, "n_head": 8, "n_positions": 256}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 352}
T5 = {
    "vocab_size": 1000,
    "d_model": 256,
    "d_kv": 32,
    "d_ff": 704,
    "num_layers": 4,
    "num_heads": 8,
    "decoder_start_token_id": 0,
}
BART = BASE | {
    "d_model": 256,
    "encoder_layers": 4,
    "decoder_layers": 4,
    "encoder_attention_heads": 8,
    "decoder_attention_heads": 8,
    "encoder_ffn_dim": 1024,
    "decoder_ffn_dim": 1024,
    "max_position_embeddings": 256,
    "decoder_start_token_id": 2,
}
RNN = {"embedding_size": 512, "hidden_size": 512, "num_layers": 2, "vocab_size": 1000}
RWKV = {"d": 256, "heads": 4, "width": 64, "d_mlp": 896}
FAMILIES = {
    "rwkv6": ("Rwkv6", RWKV | {"rank": 32, "slow": 64}),
    "rwkv7": ("Rwkv7", RWKV | {"ranks": {"w": 64, "a": 64, "v": 32, "g": 128}}),
    "lstm": (torch.nn.LSTM, RNN | {"model_type": "lstm"}),
    "gru": (torch.nn.GRU, RNN | {"model_type": "gru"}),
    "mamba": ("MambaConfig", BASE | {"hidden_size": 256, "num_hidden_layers": 4}),
    "t5": ("T5Config", T5),
    "bart": ("BartConfig", BART),
    "mbart": ("MBartConfig", BART),
    "marian": ("MarianConfig", BART),
    "gpt2": ("GPT2Config", GPT),
    "llama": ("LlamaConfig", LLAMA),
    "mistral": ("MistralConfig", LLAMA | {"sliding_window": 32}),
    "qwen2": ("Qwen2Config", LLAMA),
    "qwen3": ("Qwen3Config", LLAMA | {"head_dim": 32}),
    "smollm3": ("SmolLM3Config", LLAMA),
    "stablelm": ("StableLmConfig", LLAMA),
    "olmo2": ("Olmo2Config", LLAMA),
    "phi3": ("Phi3Config", LLAMA),
    "gpt_neox": ("GPTNeoXConfig", LLAMA),
    "gptj": ("GPTJConfig", GPT | {"rotary_dim": 16}),
    "gpt_neo": (
        "GPTNeoConfig",
        BASE
        | {
            "hidden_size": 256,
            "num_layers": 4,
            "num_heads": 8,
            "max_position_embeddings": 256,
            "attention_types": [[["global", "local"], 2]],
            "window_size": 32,
        },
    ),
    "opt": (
        "OPTConfig",
        BASE
        | {
            "hidden_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": 8,
            "ffn_dim": 1024,
            "word_embed_proj_dim": 256,
            "max_position_embeddings": 256,
        },
    ),
    "bloom": ("BloomConfig", BASE | {"hidden_size": 256, "n_layer": 4, "n_head": 8}),
    "falcon": ("FalconConfig", BASE | {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8}),
    "phi": ("PhiConfig", LLAMA),
    "gemma": ("GemmaConfig", LLAMA | {"head_dim": 32}),
    "gemma2": ("Gemma2Config", LLAMA | {"head_dim": 32, "sliding_window": 32}),
    "gemma3_text": ("Gemma3TextConfig", LLAMA | {"head_dim": 32, "sliding_window": 32}),
    "mixtral": ("MixtralConfig", LLAMA | {"num_local_experts": 8, "intermediate_size": 352}),
    "qwen2_moe": ("Qwen2MoeConfig", LLAMA | EXPERTS | {"num_experts": 8, "shared_expert_intermediate_size": 352}),
    "qwen3_moe": ("Qwen3MoeConfig", LLAMA | EXPERTS | {"num_experts": 8, "head_dim": 32}),
}


class Rnn(torch.nn.Module):
    """Embeddings and the layers of torch.nn, in the layout of the families lstm and gru."""

    def __init__(self, layers, config):
        super().__init__()
        width, n_layers = config["hidden_size"], config["num_layers"]
        self.fields = config
        self.config = transformers.PretrainedConfig()
        self.encoder = torch.nn.Embedding(config["vocab_size"], width)
        self.rnn = layers(width, width, n_layers, batch_first=True)

    @property
    def base_model(self):
        return self

    def forward(self, input_ids, **_):
        return self.rnn(self.encoder(input_ids))

    def save_pretrained(self, folder):
        save_file(self.state_dict(), pathlib.Path(folder) / "model.safetensors")
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(self.fields))


class Rwkv:
    """A larger one of the golden models, in the package of RWKV's authors."""

    config = transformers.PretrainedConfig()

    def __init__(self, kind, sizes):
        sys.path.append(str(pathlib.Path(__file__).parent.parent / "tests/golden/models"))
        golden = importlib.import_module("make_rwkv")
        golden.V, golden.LAYERS = 1000, 4
        self.tensors = {k: v.contiguous() for k, v in type(kind, (getattr(golden, kind),), sizes)().original().items()}
        os.environ |= {"RWKV_JIT_ON": "1", "RWKV_CUDA_ON": "0", "RWKV_V7_ON": str(int(kind == "Rwkv7"))}
        sys.modules.pop("rwkv.model", None)
        with tempfile.TemporaryDirectory() as folder:
            torch.save(self.tensors, f"{folder}/model.pth")
            self.package = importlib.import_module("rwkv.model").RWKV(model=f"{folder}/model", strategy="cpu fp32")

    @property
    def base_model(self):
        return self

    def __call__(self, input_ids, **_):
        return [self.package.forward(text, None)[0] for text in input_ids.tolist()]

    def save_pretrained(self, folder):
        save_file(self.tensors, pathlib.Path(folder) / "model.safetensors")


def made(cls, options):
    """A random model."""
    torch.manual_seed(0)
    if str(cls).startswith("Rwkv"):
        return Rwkv(cls, options)
    if not isinstance(cls, str):
        return Rnn(cls, options).eval()
    config = getattr(transformers, cls)(**options)
    kind = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    more = {} if config.model_type == "mamba" else {"attn_implementation": "eager"}
    return kind.from_config(config, **more).eval()


def eager(model, ids, repeats):
    """The median of some passes, in ms."""
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        model(input_ids=ids, use_cache=False, **more)
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            model(input_ids=ids, use_cache=False, **more)
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--nissl", default="target/release/examples/forward")
    args = parser.parse_args()
    ids = (torch.arange(32 * 64) * 7919 % 1000).reshape(32, 64)
    for name in args.families or FAMILIES:
        model = made(*FAMILIES[name])
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            ours, theirs = {1: [], 2: []}, {1: [], 2: []}
            for _ in range(args.rounds):
                for threads in (1, 2):
                    torch.set_num_threads(threads)
                    theirs[threads].append(eager(model.base_model, ids, args.repeats))
                out = common.once([args.nissl, folder, "32", "64", str(args.repeats), "--json"])["out"]
                for line in (json.loads(line) for line in out.splitlines() if line.startswith("{")):
                    ours[line["threads"]].append(line["ms"])
        found = {t: (statistics.median(ours[t]), statistics.median(theirs[t])) for t in (1, 2)}
        row = "".join(f"  {t} threads: {a:6.1f} and {b:6.1f} ms, {b / a:5.2f}x" for t, (a, b) in found.items())
        print(f"{name:12}{row}", flush=True)


if __name__ == "__main__":
    main()
