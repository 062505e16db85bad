"""Makes the golden models in Marian's own files: small random weights, written as Marian does, and what 64-bit floats
compute with them.

    python make_marian_nmt.py [NAME ...]     # writes marian-nmt/ and marian-nmt-attention/ beside this file, or, named
                                             # small, ../hostile/marian/small-model

Made with python 3, torch 2.15.0, sentencepiece 0.2.3, safetensors 0.8.0, numpy 2.4.6. Each folder holds
    model.bin         the model, with its settings: matrices of 8 bits, those of the encoder's last layer of 32
    vocab.spm         the tokenizer, and what sentencepiece makes of some texts in tokens.json
and what make_encoder_decoders.py says of others, but that the model is computed here, a token at a time where there
is a state, and that the searches for texts are written out.
"""

import io
import json
import struct
import sys

import numpy as np
import sentencepiece
import torch
from safetensors.torch import save_file

import make_encoder_decoders as made
from make import HERE, close

V, D, HEADS, FFN, DEPTH, N_CTX = 41, 16, 2, 20, 2, 1024
F32, INT8, INTGEMM8 = 0x404, 0x101, 0x4101
SSRU = {"ssru_f": "ssru.hook_f", "ssru_g": "ssru.hook_g", "ssru_c": "ssru.hook_c", "ssru_h": "ssru.hook_h"}
TEXTS = ["The cat is sleeping on the table.", "a table  is\tthere", "", "ŷ the ﬁsh"]
SETTINGS = """\
dec-cell: ssru
dec-cell-base-depth: 2
dec-depth: {depth}
dim-emb: {d}
dim-rnn: 1024
dim-vocabs:
  - {v}
  - {v}
enc-depth: {depth}
enc-type: bidirectional
input-types: []
layer-normalization: false
output-omit-bias: false
tied-embeddings-all: true
transformer-decoder-autoreg: {autoreg}
transformer-dim-ffn: {ffn}
transformer-ffn-activation: {activation}
transformer-heads: {heads}
transformer-postprocess: dan
transformer-postprocess-emb: d
transformer-preprocess: ""
transformer-tied-layers: []
type: transformer
version: v1.9.56 94aeaa46 2021-04-28 00:28:35 +0100
"""


def weights(autoreg, seed):
    """Marian's names; matrices are [inputs, outputs]."""
    rng = np.random.default_rng(seed)
    found = {"Wemb": 0.25 * rng.normal(size=(V, D)), "decoder_ff_logit_out_b": 0.3 * rng.normal(size=(1, V))}

    def linear(name, n_in, n_out, bias=True):
        stem, _, last = name.rpartition("_")
        found[f"{stem}_W{last}"] = 1.3 * rng.normal(size=(n_in, n_out)) / n_in**0.5
        if bias:
            found[f"{stem}_b{last}"] = 0.3 * rng.normal(size=(1, n_out))

    def norm(name):
        found[f"{name}_ln_scale"] = 1.0 + 0.3 * rng.normal(size=(1, D))
        found[f"{name}_ln_bias"] = 0.2 * rng.normal(size=(1, D))

    def attention(name):
        for part in "qkvo":
            linear(f"{name}_{part}", D, D)
        norm(f"{name}_Wo")

    for stack in ["encoder", "decoder"]:
        for layer in range(1, DEPTH + 1):
            stem = f"{stack}_l{layer}"
            if stack == "decoder" and autoreg == "rnn":
                linear(f"{stem}_rnn_", D, D, bias=False)
                linear(f"{stem}_rnn_f", D, D)
                norm(f"{stem}_rnn_ffn")
            else:
                attention(f"{stem}_self")
            if stack == "decoder":
                attention(f"{stem}_context")
            linear(f"{stem}_ffn_1", D, FFN)
            linear(f"{stem}_ffn_2", FFN, D)
            norm(f"{stem}_ffn_ffn")
    return {name: values.astype(np.float32) for name, values in found.items()}


def stored(name, values):
    """Type, bytes, and the values that they stand for."""
    is_matrix = name == "Wemb" or values.shape[0] > 1
    if not is_matrix or name.startswith(f"encoder_l{DEPTH}"):
        return F32, values.tobytes(), values
    factor = np.float32(127 / np.abs(values).max())
    codes = np.rint(values * factor).astype(np.int8)
    lies = codes if name == "Wemb" else codes.T
    return INTGEMM8, lies.tobytes() + factor.tobytes(), codes.astype(np.float32) / factor


def write(path, tensors):
    """Name, type, shape, bytes of each tensor, as Marian's binary files have them."""
    file = io.BytesIO()
    file.write(struct.pack("<QQ", 1, len(tensors)))
    padded = lambda data, kind: data if kind == INT8 else data + bytes(-len(data) % 256)
    tensors = [(name.encode() + b"\0", kind, shape, padded(data, kind)) for name, kind, shape, data in tensors]
    for name, kind, shape, data in tensors:
        file.write(struct.pack("<QQQQ", len(name), kind, len(shape), len(data)))
    for name, *_ in tensors:
        file.write(name)
    for _, _, shape, _ in tensors:
        file.write(struct.pack(f"<{len(shape)}i", *shape))
    file.write(struct.pack("<Q", -(file.tell() + 8) % 256))
    file.write(bytes(-file.tell() % 256))
    for *_, data in tensors:
        file.write(data)
    path.write_bytes(file.getvalue())


def settings(autoreg, activation):
    return SETTINGS.format(depth=DEPTH, d=D, v=V, ffn=FFN, heads=HEADS, autoreg=autoreg, activation=activation)


def save(folder, autoreg, activation, seed):
    """Writes the model; its weights as they are read."""
    tensors, as_read = [], {}
    for name, values in sorted(weights(autoreg, seed).items()):
        kind, data, as_read[name] = stored(name, values)
        tensors.append((name, kind, values.shape, data))
        if kind == INTGEMM8:
            tensors.append((f"{name}_QuantMultA", F32, (1, 1), np.float32(14.5).tobytes()))
    text = settings(autoreg, activation).encode() + b"\0"
    write(folder / "model.bin", [*tensors, ("special:model.yml", INT8, (len(text),), text)])
    return as_read


class Model:
    """What PairHooks is for the models of transformers."""

    class config:
        vocab_size, decoder_start_token_id = V, 0

    def __init__(self, w, activation, dtype=torch.float64):
        self.w = {name: torch.tensor(values).to(dtype) for name, values in w.items()}
        self.dtype, self.at, self.model = dtype, lambda name, values, row=None: values, self
        self.act = {"relu": torch.relu, "swish": torch.nn.functional.silu}[activation]

    def norm(self, x, name):
        gain, bias = self.w[f"{name}_ln_scale"][0], self.w[f"{name}_ln_bias"][0]
        return torch.nn.functional.layer_norm(x, (D,), gain, bias, 1e-6)

    def linear(self, x, stem, last):
        return x @ self.w[f"{stem}_W{last}"] + self.w[f"{stem}_b{last}"][0]

    def embed(self, tokens, blank):
        x = self.w["Wemb"][torch.tensor(tokens)] * D**0.5
        if blank:
            x = torch.cat([torch.zeros_like(x[:1]), x[1:]])
        half = D // 2
        steps = torch.exp(-torch.arange(half, dtype=torch.float64) * (np.log(10_000.0) / (half - 1)))
        angles = torch.arange(len(tokens), dtype=torch.float64)[:, None] * steps
        return x + torch.cat([angles.sin(), angles.cos()], -1).to(self.dtype)

    def attend(self, x, y, stem, point, names, causal=False):
        """`names` of queries, keys, values, pattern, z and what comes out."""
        show = lambda i, values: self.at(point(names[i]), values)
        parts = [show(i, self.linear(side, stem, part)) for i, (side, part) in enumerate(zip([x, y, y], "qkv"))]
        q, k, v = (part.view(len(part), HEADS, -1).transpose(0, 1) for part in parts)
        scores = q @ k.transpose(1, 2) / (D // HEADS) ** 0.5
        if causal:
            scores = scores.masked_fill(torch.ones(scores.shape[1:]).triu(1).bool(), -torch.inf)
        pattern = show(3, torch.softmax(scores, -1))
        z = show(4, (pattern @ v).transpose(0, 1).reshape(len(x), D))
        return show(5, self.linear(z, stem, "o"))

    def ssru(self, x, stem, point):
        forget = self.at(point("ssru_f"), torch.sigmoid(self.linear(x, stem, "f")))
        new = self.at(point("ssru_g"), x @ self.w[f"{stem}_W"])
        cell, cells = torch.zeros(1, D, dtype=self.dtype), []
        for row in range(len(x)):
            now = slice(row, row + 1)
            cell = self.at(point("ssru_c"), forget[now] * cell + (1 - forget[now]) * new[now], row=row)
            cells.append(cell)
        return self.at(point("ssru_h"), torch.relu(torch.cat(cells)))

    def block(self, x, stem, point, source=None):
        x = self.at(point("resid_pre"), x)
        names = ["q", "k", "v", "pattern", "z", "attn_out"]
        if f"{stem}_rnn_W" in self.w:
            out, norm = self.ssru(x, f"{stem}_rnn", point), f"{stem}_rnn_ffn"
        else:
            out = self.attend(x, x, f"{stem}_self", point, names, causal=source is not None)
            norm = f"{stem}_self_Wo"
        x = self.at(point("resid_mid"), self.norm(x + out, norm))
        if source is not None:
            names = [f"cross_{name}" for name in ["q", "k", "v", "pattern", "z", "out"]]
            out = self.attend(x, source, f"{stem}_context", point, names)
            x = self.at(point("resid_mid_cross"), self.norm(x + out, f"{stem}_context_Wo"))
        pre = self.at(point("pre"), self.linear(x, f"{stem}_ffn", "1"))
        post = self.at(point("post"), self.act(pre))
        out = self.at(point("mlp_out"), self.linear(post, f"{stem}_ffn", "2"))
        return self.at(point("resid_post"), self.norm(x + out, f"{stem}_ffn_ffn"))

    def logits(self, source, target):
        sides = {}
        for stack, tokens in [("encoder", source), ("decoder", target)]:
            x = self.at(made.point(stack, "embed"), self.embed(tokens, stack == "decoder"))
            for layer in range(DEPTH):
                point = lambda site, layer=layer, stack=stack: made.point(stack, site, layer)
                x = self.block(x, f"{stack}_l{layer + 1}", point, sides.get("encoder"))
            sides[stack] = x
        return sides["decoder"] @ self.w["Wemb"].T + self.w["decoder_ff_logit_out_b"][0]


def edits_for(widths):
    edits, combined = made.edits_for(widths, N_CTX)
    if made.point("decoder", "ssru_f", 0) in widths:
        some, at = lambda *units: {"some": list(units)}, lambda *a: made.point("decoder", *a)
        spec = lambda point, units, positions, edit: dict(point=point, units=units, positions=positions, edit=edit)
        edits += [
            spec(at("ssru_f", 0), some(1, 4), {"in_sentence": [6, 15]}, {"set": {"value": 0.9}}),
            spec(at("ssru_g", 1), "all", {"in_sentence": [-2]}, {"scale": {"factor": -2.0}}),
            spec(at("ssru_c", 0), "all", {"in_sentence": [2, 6, 15]}, {"scale": {"factor": 3.0}}),
            spec(at("ssru_c", 1), some(0, 9, 3), "all", {"add": {"values": [0.7, -0.4, 1.1]}}),
            spec(at("ssru_h", 0), some(5, 2, 11), "all", {"set": {"value": 0.8}}),
        ]
        combined += [spec(at("ssru_c", 1), some(1), {"in_sentence": [-2]}, {"set": {"value": 2.0}})]
    return edits, [edit for edit in combined if edit["point"] in widths]


def greedy(model, source, max_new, stop, min_new=0):
    tokens = []
    for _ in range(max_new):
        row = model.logits(source, [0, *tokens])[-1]
        row[1] = -torch.inf
        if len(tokens) < min_new:
            row[stop] = -torch.inf
        tokens.append(int(row.argmax()))
        if tokens[-1] in stop:
            break
    return tokens


def beams(model, source, max_new, n, penalty=1.0):
    """The search of transformers, without an early end."""
    live, done = [(0.0, [])], []
    for step in range(max_new):
        found = []
        for score, tokens in live:
            row = torch.log_softmax(model.logits(source, [0, *tokens])[-1], -1)
            row[1] = -torch.inf
            found += [(score + float(p), [*tokens, token]) for token, p in enumerate(row)]
        found = sorted(found, key=lambda one: -one[0])[: 2 * n]
        ended = lambda tokens: tokens[-1] == 0
        done += [(score / len(tokens) ** penalty, tokens) for score, tokens in found[:n] if ended(tokens)]
        done = sorted(done, key=lambda one: -one[0])[:n]
        live = [(score, tokens) for score, tokens in found if not ended(tokens)][:n]
        if len(done) == n and live[0][0] / (step + 1) ** penalty <= done[-1][0]:
            break
    else:
        done += [(score / len(tokens) ** penalty, tokens) for score, tokens in live]
    score, tokens = max(done, key=lambda one: one[0])
    return tokens, score


def make_generation(folder, model):
    rng, cases = np.random.default_rng(7), []
    sources = [rng.integers(3, V, n).tolist() for n in [6, 1, 11]]
    with torch.no_grad():
        for options in [{"max_new_tokens": 12}, {"max_new_tokens": 10, "min_new_tokens": 5},
                        {"max_new_tokens": 12, "stop_tokens": [5, 6, 7, 8, 9, 10, 11, 12]},
                        {"max_new_tokens": 12, "n_beams": 3}, {"max_new_tokens": 9, "n_beams": 4, "length_penalty": 2.0}]:
            texts = []
            for source in sources:
                score, longest = None, options["max_new_tokens"]
                if "n_beams" in options:
                    tokens, score = beams(model, source, longest, options["n_beams"], options.get("length_penalty", 1.0))
                else:
                    stop, least = options.get("stop_tokens", [0]), options.get("min_new_tokens", 0)
                    tokens = greedy(model, source, longest, stop, least)
                texts.append({"prompt": source, "tokens": tokens, "score": score})
            cases.append({"options": options, "texts": texts})
    made.write(folder / "generation.json", cases)


def make_tokenizer(folder):
    text = ["The cat is sleeping on the table.", "the fish is there, a cat is on the table", "a table is there"]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text * 4), model_writer=model, vocab_size=V, hard_vocab_limit=False, bos_id=-1, eos_id=0,
        unk_id=1, pad_id=-1, normalization_rule_name="identity", minloglevel=2, num_threads=1,
    )
    (folder / "vocab.spm").write_bytes(model.getvalue())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    assert pieces.get_piece_size() <= V
    cases = [{"text": text, "tokens": [*pieces.encode(text), 0]} for text in TEXTS]
    (folder / "tokens.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


def make(name, autoreg, activation, seed):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    w = save(folder, autoreg, activation, seed)
    make_tokenizer(folder)
    model, single = Model(w, activation), Model(w, activation, torch.float32)
    make_generation(folder, model)
    pairs = made.pairs_of(model, seed, made.LENGTHS)
    sites, logits = made.run(model, pairs, N_CTX)
    sites_32, logits_32 = made.run(single, pairs, N_CTX)
    close(f"{name} logits", logits_32, logits, 2e-5)
    for point, want in sites.items():
        close(f"{name} {point}", sites_32[point], want, 1e-5)
    widths = {point.removesuffix(".0") if "pattern" in point else point: v.shape[-1] for point, v in sites.items()}
    edits, combined = edits_for(widths)
    bare = lambda point: ".".join(part for part in point.split(".") if not part.isdigit())
    missing = {bare(point) for point in sites} - {bare(spec["point"]) for spec in edits}
    assert not missing, f"{name}: no edit at {missing}"
    arrays = made.packed(pairs) | {point: values.float() for point, values in sites.items()}
    arrays["logits"] = logits.float()
    for i, spec in enumerate(edits):
        arrays[f"edit.{i}"] = made.run(model, pairs, N_CTX, [spec])[1].float()
        change = (arrays[f"edit.{i}"] - arrays["logits"]).abs().max()
        assert change > 1e-3, f"{name}: edit {i} changes nothing: {spec}"
    sites, logits = made.run(model, pairs, N_CTX, combined)
    arrays["combined.logits"] = logits.float()
    for point in [*(spec["point"] for spec in combined), "encoder.1.hook_resid_post", "decoder.1.hook_resid_post"]:
        arrays[f"combined.{point}"] = sites[point].float()
    save_file({key: values.contiguous() for key, values in arrays.items()}, folder / "expected.safetensors")
    made.write(folder / "edits.json", edits)
    made.write(folder / "combined.json", combined)
    made.make_gradients(folder, model, seed)


def make_small():
    global V, D, HEADS, FFN, DEPTH
    V, D, HEADS, FFN, DEPTH = 3, 4, 1, 2, 1
    folder = HERE.parent / "hostile/marian"
    folder.mkdir(exist_ok=True)
    save(folder, "rnn", "relu", 1)
    (folder / "model.bin").rename(folder / "small-model")


if __name__ == "__main__":
    made.SITES.update(SSRU)
    made.WRT += [f"decoder.{layer}.{site}" for layer in range(DEPTH) for site in SSRU.values()]
    for number, (name, autoreg, activation) in enumerate(
        [("marian-nmt", "rnn", "relu"), ("marian-nmt-attention", "self-attention", "swish")]
    ):
        if not sys.argv[1:] or name in sys.argv[1:]:
            make(name, autoreg, activation, 181 + number)
    if not sys.argv[1:] or "small" in sys.argv[1:]:
        make_small()
