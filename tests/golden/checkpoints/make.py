"""Makes small checkpoints in every format that is read, with the libraries that define the formats.

    python make.py            # writes beside this file

Made with torch 2.15.0, numpy 2.4.6, gguf 0.19.0, safetensors 0.8.0.

    weights.safetensors              what all files of PyTorch and numpy hold
    zip.pt, old.pt                   the same, as PyTorch writes it since 2020 and as it wrote it before
    run.pt                           the same within a training run: state_dict, counters, an optimizer's state
    stored.npz, deflated.npz         the same, without shared and 16-bit brain floats, which numpy does not know
    quantized.gguf                   random blocks of every quantized type, and plain types; scales are small
    quantized.safetensors            what the reference implementation makes of them
    qwen2.gguf, qwen3.gguf           ../models/qwen2 and qwen3; files of the first know no windows
    llama.gguf                       ../models/llama, with the rows of queries and keys in the order of such files
    bytelevel.gguf, metaspace.gguf   the tokenizers ../tokenizers/*/tokenizer.json, no tensors
"""

import json
import pathlib

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as T
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent
N_ROWS, N_COLUMNS = 3, 512


def torch_files():
    torch.manual_seed(0)
    base = torch.randn(6, 4)
    half = torch.randn(5).half()
    state = {
        "plain.weight": base,
        "tied.weight": base,
        "rows.weight": base[2:5],
        "transposed.weight": base.t(),
        "columns.weight": base[:, 1:3],
        "half": half,
        "brain": torch.randn(2, 3).bfloat16(),
        "double": torch.randn(3).double(),
        "ids": torch.arange(4),
        "mask": torch.tensor([True, False]),
        "scalar": torch.tensor(7.5),
        "empty": torch.zeros(0, 3),
        "cube": torch.randn(2, 3, 4).permute(2, 0, 1),
    }
    state["parameter"] = torch.nn.Parameter(torch.randn(2, 2))
    module = torch.nn.Module()
    for i, (name, value) in enumerate(state.items()):
        (module.register_buffer if not isinstance(value, torch.nn.Parameter) else module.register_parameter)(
            f"b{i}", value
        )
    ordered = module.state_dict(keep_vars=True)  # an OrderedDict with attributes, parameters kept
    ordered = type(ordered)((name, ordered[f"b{i}"]) for i, name in enumerate(state))
    ordered._metadata = {"": {"version": 1}}
    torch.save(ordered, HERE / "zip.pt")
    torch.save(ordered, HERE / "old.pt", _use_new_zipfile_serialization=False)
    optimizer = {"state": {0: {"exp_avg": torch.zeros(2), "step": 3}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    torch.save({"epoch": 2, "optimizer": optimizer, "state_dict": ordered}, HERE / "run.pt")
    save_torch({k: v.detach().clone().contiguous() for k, v in state.items()}, HERE / "weights.safetensors")
    arrays = {k: v.detach().numpy() for k, v in state.items() if k not in ("brain", "tied.weight")}
    arrays["note"] = np.array("text is no weight")
    np.savez(HERE / "stored.npz", **arrays)
    np.savez_compressed(HERE / "deflated.npz", **arrays)


def quantized():
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(HERE / "quantized.gguf", "none")
    expected = {}
    halves = {  # where a block has its 16-bit scales
        T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
        T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
    }
    for kind, places in halves.items():
        length, size = gguf.GGML_QUANT_SIZES[kind]
        rows = random.integers(0, 256, (N_ROWS, N_COLUMNS // length, size), dtype=np.uint8)
        for place in places:
            scales = random.normal(0, 0.1, rows.shape[:2]).astype(np.float16)
            rows[:, :, place : place + 2] = scales[..., None].view(np.uint8)
        rows = rows.reshape(N_ROWS, -1)
        writer.add_tensor(kind.name, rows, raw_dtype=kind)
        expected[kind.name] = gguf.dequantize(rows, kind).astype(np.float32)
    for kind, dtype in [(T.F32, np.float32), (T.F16, np.float16)]:
        values = random.normal(0, 1, (2, 3, 5)).astype(dtype)
        writer.add_tensor(kind.name, values)
        expected[kind.name] = values.astype(np.float32)
    brain = random.integers(0, 2**16, 7, dtype=np.uint16) & 0xBFFF
    writer.add_tensor("BF16", brain.view(np.uint8), raw_dtype=T.BF16)
    expected["BF16"] = (brain.astype(np.uint32) << 16).view(np.float32)
    finish(writer)
    save_file(expected, HERE / "quantized.safetensors")


def model(name):
    config = json.loads((GOLDEN / f"models/{name}/config.json").read_text())
    weights = load_file(GOLDEN / f"models/{name}/model.safetensors")
    writer = gguf.GGUFWriter(HERE / f"{name}.gguf", name)
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    width = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[name.upper()], config["num_hidden_layers"])
    for weight, value in weights.items():
        for part, n in [("q_proj", heads), ("k_proj", kv)]:
            if name == "llama" and part in weight:
                halves = value.reshape(n, 2, value.shape[0] // n // 2, value.shape[1])
                value = halves.swapaxes(1, 2).reshape(value.shape)
        writer.add_tensor(names.get_name(weight, try_suffixes=(".weight", ".bias")), np.ascontiguousarray(value))
    finish(writer)


def tokenizers():
    for name in ["bytelevel", "metaspace"]:
        file = json.loads((GOLDEN / f"tokenizers/{name}/tokenizer.json").read_text())
        added = {token["id"] for token in file["added_tokens"]}
        model = file["model"]
        merges = [" ".join(merge) for merge in model["merges"]]
        tokens = sorted(model["vocab"], key=model["vocab"].get)
        writer = gguf.GGUFWriter(HERE / f"{name}.gguf", "llama")
        types = [gguf.TokenType.CONTROL if i in added else gguf.TokenType.NORMAL for i in range(len(tokens))]
        if name == "bytelevel":
            writer.add_tokenizer_model("gpt2")
            writer.add_tokenizer_pre("gpt-2")
            writer.add_token_merges(merges)
            writer.add_add_bos_token(False)
        else:
            # Such files have no merges, but a score a token: what is merged first has the highest.
            rank = {a + b: -float(i) for i, (a, b) in reversed(list(enumerate(model["merges"])))}
            writer.add_tokenizer_model("llama")
            writer.add_token_scores([rank.get(token, -1e6) for token in tokens])
            types = [
                gguf.TokenType.BYTE if token.startswith("<0x") else kind for token, kind in zip(tokens, types)
            ]
            types[0] = gguf.TokenType.UNKNOWN
            writer.add_bos_token_id(1)
            writer.add_eos_token_id(2)
            writer.add_unk_token_id(0)
        writer.add_token_list(tokens)
        writer.add_token_types(types)
        finish(writer)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    torch_files()
    quantized()
    for name in ["llama", "qwen2", "qwen3"]:
        model(name)
    tokenizers()
