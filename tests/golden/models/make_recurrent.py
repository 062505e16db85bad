"""Makes the golden recurrent models: small random LSTMs and GRUs of every layout, and what a loop in 64-bit floats computes.

    python make_recurrent.py [NAME ...]     # writes lstm*/, char-rnn/, textgenrnn/, gru*/, mlstm*/ beside this file

Made with python 3, torch 2.15.0, safetensors 0.8.0, numpy 2.4.6. The files are as those of make.py, whose `apply`
makes the edits. A model without config.json is one of a layout that has none.

The loop is written out, a token at a time, so that an edit of a gate, a cell or a state changes what comes after it.
Where PyTorch has the same layers (`torch.nn.LSTM`, `torch.nn.GRU`), the loop is checked against them. gru-plain has
no biases; mlstm-plain is mlstm with its matrices as they are used, without config.json; both have no gradients.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import save_file

from make import LENGTHS, apply, close

HERE = pathlib.Path(__file__).parent
V, E, H = 71, 32, 12
GATES = "ifgo"


class Lstm:
    """What a step of an LSTM is."""

    is_stored_as_used = False
    shown = ["c.0", "f.0", "h.last", "i.last", "resid_post.last"]

    def begin(self, dtype):
        return torch.zeros(self.d_state, dtype=dtype), torch.zeros(H, dtype=dtype)

    def step(self, layer, direction, x, carried, show):
        h, c = carried
        i, f, g, o = self.gates(layer, direction, x, h)
        gate = {"i": i.sigmoid(), "f": f.sigmoid(), "g": g.tanh(), "o": o.sigmoid()}
        gate = {k: show(k, v) for k, v in gate.items()}
        c = show("c", gate["f"] * c + gate["i"] * gate["g"])
        return show("h", self.project(layer, direction, gate["o"] * c.tanh())), c


class Torch(Lstm):
    """`torch.nn` layers; stem and names of the embeddings and the head as given."""

    is_stored_as_used, kind = True, "lstm"

    def __init__(self, layers, names, bidirectional=False, proj=0, bias=True, embed=E, tied=False, labels=None):
        embedding, rnn, head = names
        self.n_layers, self.directions, self.proj, self.names = layers, 2 if bidirectional else 1, proj, names
        layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[self.kind]
        self.lstm = layer(embed, H, layers, bias=bias, bidirectional=bidirectional, **({"proj_size": proj} if proj else {}))
        self.config = {
            "model_type": self.kind,
            "vocab_size": V,
            "embedding_size": embed,
            "hidden_size": H,
            "num_layers": layers,
            "bidirectional": bidirectional,
            "proj_size": proj,
            "tie_word_embeddings": tied,
            "max_length": 64,
        }
        if labels:
            self.config["num_labels"] = labels
        d_out = self.directions * (proj or H)
        self.d_embed, self.d_out, self.d_state = embed, d_out, proj or H
        self.tensors = {f"{rnn}.{k}": torch.randn_like(v) * 0.5 for k, v in self.lstm.state_dict().items()}
        self.tensors[f"{embedding}.weight"] = torch.randn(V, embed)
        if not tied:
            self.tensors[f"{head}.weight"] = torch.randn(labels or V, d_out)
        self.tensors[f"{head}.bias"] = torch.randn(labels or V)
        self.embedding = f"{embedding}.weight"

    def prepare(self, t):
        self.t = t
        self.lstm.load_state_dict({k.split(".", 1)[1]: v.float() for k, v in t.items() if k.startswith(self.names[1])})
        self.lstm.double()

    def gates(self, layer, direction, x, h):
        end = f"_l{layer}" + ("_reverse" if direction else "")
        get = lambda what: self.t.get(f"{self.names[1]}.{what}{end}")
        pre = get("weight_ih") @ x + get("weight_hh") @ h
        if get("bias_ih") is not None:
            pre = pre + get("bias_ih") + get("bias_hh")
        return pre.chunk(4)

    def project(self, layer, direction, h):
        if not self.proj:
            return h
        return self.t[f"{self.names[1]}.weight_hr_l{layer}" + ("_reverse" if direction else "")] @ h

    def head(self, outputs, _window):
        head = self.names[2]
        decoder = self.t.get(f"{head}.weight", self.t[self.embedding])
        return outputs[-1] @ decoder.T + self.t[f"{head}.bias"]

    window = None

    def check(self, tokens, logits):
        with torch.no_grad():
            x, _ = self.lstm(self.t[self.embedding][tokens])
        close("torch.nn", self.head([x], None), logits, 1e-12)


class Gru(Torch):
    kind = "gru"
    shown = ["gru_r.0", "gru_z.0", "gru_n.last", "gru_h.last", "resid_post.last"]

    def begin(self, dtype):
        return (torch.zeros(H, dtype=dtype),)

    def step(self, layer, direction, x, carried, show):
        end = f"_l{layer}" + ("_reverse" if direction else "")
        get = lambda what: self.t.get(f"{self.names[1]}.{what}{end}", torch.zeros(3 * H, dtype=x.dtype))
        given = (get("weight_ih") @ x + get("bias_ih")).chunk(3)
        hidden = (get("weight_hh") @ carried[0] + get("bias_hh")).chunk(3)
        r = show("gru_r", (given[0] + hidden[0]).sigmoid())
        z = show("gru_z", (given[1] + hidden[1]).sigmoid())
        n = show("gru_n", (given[2] + r * hidden[2]).tanh())
        return (show("gru_h", (1 - z) * n + z * carried[0]),)


class Mlstm(Lstm):
    """The layout of the sentiment neuron's PyTorch port: gates i, f, o, u; matrices `weight_v` of rows `weight_g` long.

    Rows of 1.5 to 2.5 would make the recurrence amplify what is rounded: over 30 tokens this loop in 32-bit floats is then
    6e-6 of the largest value off from itself in 64-bit floats, with rows of 0.8 to 1.4 it is 3e-7.
    """

    n_layers, directions, proj, window = 1, 1, 0, None
    config = {"model_type": "mlstm"}
    shown = ["m.0", *Lstm.shown]
    sizes = {"wx": (4 * H, E), "wh": (4 * H, H), "wmx": (H, E), "wmh": (H, H)}

    def __init__(self):
        self.d_embed, self.d_out, self.d_state = E, H, H
        self.embedding = "embed.weight"
        self.tensors = {self.embedding: torch.randn(V, E), "rnn.layer_0.wh.bias": torch.randn(4 * H) * 0.5}
        for name, shape in self.sizes.items():
            self.tensors[f"rnn.layer_0.{name}.weight_v"] = torch.randn(shape)
            self.tensors[f"rnn.layer_0.{name}.weight_g"] = 0.8 + 0.6 * torch.rand(shape[0], 1)
        self.tensors |= {"rnn.h2o.weight": torch.randn(V, H), "rnn.h2o.bias": torch.randn(V)}

    def prepare(self, t):
        self.t = t
        self.matrices = {name: self.matrix(name) for name in self.sizes}

    def matrix(self, name):
        name = f"rnn.layer_0.{name}.weight"
        if name in self.t:
            return self.t[name]
        direction = self.t[f"{name}_v"]
        return self.t[f"{name}_g"] * direction / direction.norm(dim=1, keepdim=True)

    def step(self, layer, direction, x, carried, show):
        w = self.matrices
        self.product = show("m", (w["wmx"] @ x) * (w["wmh"] @ carried[0]))
        return super().step(layer, direction, x, carried, show)

    def gates(self, _layer, _direction, x, _h):
        w = self.matrices
        i, f, o, u = (w["wx"] @ x + w["wh"] @ self.product + self.t["rnn.layer_0.wh.bias"]).chunk(4)
        return i, f, u, o

    def project(self, _layer, _direction, h):
        return h

    def head(self, outputs, _window):
        return outputs[-1] @ self.t["rnn.h2o.weight"].T + self.t["rnn.h2o.bias"]

    def check(self, *_):
        pass


class PlainMlstm(Mlstm):
    config = None

    def __init__(self):
        super().__init__()
        self.prepare(self.tensors)
        for name, matrix in self.matrices.items():
            del self.tensors[f"rnn.layer_0.{name}.weight_v"], self.tensors[f"rnn.layer_0.{name}.weight_g"]
            self.tensors[f"rnn.layer_0.{name}.weight"] = matrix


class CharRnn(Lstm):
    """The layout of a character model in TensorFlow: [x, h] @ weights + biases is i, j, f, o; forget bias + 1."""

    n_layers, directions, proj, config, window = 2, 1, 0, None, None

    def __init__(self):
        self.d_embed = self.d_out = self.d_state = H
        self.tensors = {"embedding": torch.randn(V, H), "Variable": torch.zeros(1)}
        for layer in range(2):
            cell = self.cell(layer)
            self.tensors[f"{cell}.weights"] = torch.randn(2 * H, 4 * H) * 0.5
            self.tensors[f"{cell}.biases"] = torch.randn(4 * H) * 0.5
        self.tensors["rnnlm.softmax_w"] = torch.randn(H, V)
        self.tensors["rnnlm.softmax_b"] = torch.randn(V)
        self.embedding = "embedding"

    def cell(self, layer):
        return f"rnnlm.multi_rnn_cell.cell_{layer}.basic_lstm_cell"

    def prepare(self, t):
        self.t = t

    def gates(self, layer, _direction, x, h):
        cell = self.cell(layer)
        i, j, f, o = (torch.cat([x, h]) @ self.t[f"{cell}.weights"] + self.t[f"{cell}.biases"]).chunk(4)
        return i, f + 1.0, j, o

    def project(self, _layer, _direction, h):
        return h

    def head(self, outputs, _window):
        return outputs[-1] @ self.t["rnnlm.softmax_w"] + self.t["rnnlm.softmax_b"]

    def check(self, *_):
        pass


class TextGenRnn(Lstm):
    """The layout of textgenrnn with CuDNN kernels: gates i, f, c, o; the head reads an attention average."""

    n_layers, directions, proj, config, window = 2, 1, 0, None, 40

    def __init__(self):
        self.d_embed, self.d_out, self.d_state = E, H, H
        self.tensors = {"embedding.embeddings": torch.randn(V, E)}
        for layer in (1, 2):
            self.tensors[f"rnn_{layer}.kernel"] = torch.randn(E if layer == 1 else H, 4 * H) * 0.4
            self.tensors[f"rnn_{layer}.recurrent_kernel"] = torch.randn(H, 4 * H) * 0.4
            self.tensors[f"rnn_{layer}.bias"] = torch.randn(8 * H) * 0.4
        width = E + 2 * H
        self.tensors["attention.attention_W"] = torch.randn(width, 1) * 0.3
        self.tensors["output.kernel"] = torch.randn(width, V)
        self.tensors["output.bias"] = torch.randn(V)
        self.embedding = "embedding.embeddings"

    def prepare(self, t):
        self.t = t

    def gates(self, layer, _direction, x, h):
        t, rnn = {k: v.numpy() for k, v in self.t.items()}, f"rnn_{layer + 1}"
        given = []
        for kernel in np.hsplit(t[f"{rnn}.kernel"], 4):
            given.append(x.numpy() @ kernel.T.reshape(kernel.shape, order="F"))
        for gate, kernel in enumerate(np.hsplit(t[f"{rnn}.recurrent_kernel"], 4)):
            given[gate] = given[gate] + h.numpy() @ kernel.T
        bias = t[f"{rnn}.bias"].reshape(2, 4, H).sum(0)
        return [torch.tensor(gate + b) for gate, b in zip(given, bias)]

    def project(self, _layer, _direction, h):
        return h

    def head(self, outputs, n_padding):
        x = torch.cat(outputs, 1)
        rows = []
        for last in range(n_padding, len(x)):
            seen = x[: last + 1]
            weights = torch.softmax((seen @ self.t["attention.attention_W"])[:, 0], 0)
            rows.append(weights @ seen)
        return torch.stack(rows) @ self.t["output.kernel"] + self.t["output.bias"]

    def check(self, *_):
        pass


def point(site, layer=None):
    if site == "embed":
        return "hook_embed"
    if site.startswith("resid"):
        return f"blocks.{layer}.hook_{site}"
    return f"blocks.{layer}." + (f"gru.hook_{site[4:]}" if site.startswith("gru_") else f"lstm.hook_{site}")


def run(model, sentences, edits=()):
    """Every site's values of every sentence, and the logits, each sentence alone."""
    sites, logits, first_row = {}, [], 0
    edited = {spec["point"] for spec in edits}
    for tokens in sentences:
        n = len(tokens)
        n_padding = max(0, (model.window or 0) - n)

        def whole(name, values):
            """A site outside the recurrence, [n, width]."""
            for spec in edits:
                if spec["point"] == name:
                    values = apply(spec, values.clone(), first_row)
            sites.setdefault(name, []).append(values.clone())
            return values

        def step(name, at, direction, values):
            """A site within it: units of one direction at the token `at`; padding is nobody's."""
            if at < 0:
                return values
            width = len(values)
            own = slice(direction * width, (direction + 1) * width)
            table = current.setdefault(name, torch.zeros(n, model.directions * width, dtype=values.dtype))
            if name in edited:
                rows = torch.zeros_like(table)
                rows[at, own] = values
                for spec in edits:
                    if spec["point"] == name:
                        rows = apply(spec, rows, first_row)
                values = rows[at, own].clone()
            table[at, own] = values
            return values

        table = model.t[model.embedding]
        x = whole("hook_embed", table[tokens])
        x = torch.cat([table[[0] * n_padding], x]) if n_padding else x
        outputs = [x]
        for layer in range(model.n_layers):
            if model.n_layers == 1 or model.d_embed == model.d_out:
                shown = whole(point("resid_pre", layer), x[n_padding:])
                outputs[-1] = x = torch.cat([x[:n_padding], shown])
            current, parts = {}, []
            for direction in range(model.directions):
                carried = model.begin(x.dtype)
                out = [None] * len(x)
                for place in range(len(x))[:: -1 if direction else 1]:
                    at = place - n_padding
                    show = lambda site, values: step(point(site, layer), at, direction, values)
                    carried = model.step(layer, direction, x[place], carried, show)
                    out[place] = carried[0]
                parts.append(torch.stack(out))
            for name, values in current.items():
                sites.setdefault(name, []).append(values)
            x = torch.cat(parts, 1)
            shown = whole(point("resid_post", layer), x[n_padding:])
            x = torch.cat([x[:n_padding], shown])
            outputs.append(x)
        logits.append(model.head(outputs, n_padding))
        first_row += n
    return {name: torch.cat(values) for name, values in sites.items()}, torch.cat(logits)


def edits_for(model, widths):
    """Every site, every kind of edit and every way to choose positions."""
    rng = np.random.default_rng(5)
    last = model.n_layers - 1

    def values(n):
        return [round(float(v), 3) for v in rng.normal(0, 1, n)]

    def spec(name, units, positions, edit):
        return {"point": name, "units": units, "positions": positions, "edit": edit}

    some = lambda *units: {"some": list(units)}
    sentence = lambda *places: {"in_sentence": list(places)}
    rows = lambda *numbers: {"rows": list(numbers)}
    w = lambda site, layer: widths[point(site, layer)]
    if isinstance(model, Gru):
        top = w("gru_h", 0) - 1
        edits = [
            spec(point("embed"), "all", sentence(0), {"scale": {"factor": 0.5}}),
            spec(point("gru_r", 0), some(3, top), "all", "zero"),
            spec(point("gru_r", last), "all", rows(2, 9), {"patch": {"values": values(2 * w("gru_r", last))}}),
            spec(point("gru_z", 0), some(5, 0), sentence(0, -2), {"set": {"value": 0.9}}),
            spec(point("gru_z", last), "all", sentence(-1, 1), {"scale": {"factor": -1.5}}),
            spec(point("gru_n", last), some(top, 2), "all", {"add": {"values": values(2)}}),
            spec(point("gru_n", 0), some(4), "all", {"mean": {"values": values(1)}}),
            spec(point("gru_h", 0), "all", rows(0, 10), {"patch": {"values": values(2 * w("gru_h", 0))}}),
            spec(point("gru_h", last), some(2, 6), "all", {"patch": {"values": values(2 * sum(LENGTHS))}}),
            spec(point("gru_h", last), "all", sentence(2, 40), "zero"),
            spec(point("resid_post", 0), some(0, 6), "all", {"scale": {"factor": 3.0}}),
            spec(point("resid_post", last), "all", sentence(-1), {"add": {"values": values(w("resid_post", last))}}),
        ]
        combined = [
            spec(point("gru_h", 0), some(3, 4), sentence(1), {"set": {"value": 1.5}}),
            spec(point("gru_h", 0), some(4), sentence(1), {"scale": {"factor": 2.0}}),
            spec(point("gru_z", 0), some(0, 4), "all", {"add": {"values": [0.2, 0.1]}}),
            spec(point("gru_h", last), some(1), rows(2, 10), "zero"),
        ]
        return edits, combined
    top = w("c", 0) - 1
    edits = [
        spec(point("embed"), "all", sentence(0), {"scale": {"factor": 0.5}}),
        spec(point("i", 0), some(3, top), "all", "zero"),
        spec(point("i", last), "all", rows(2, 9), {"patch": {"values": values(2 * w("i", last))}}),
        spec(point("f", 0), some(5, 0), sentence(0, -2), {"set": {"value": 0.9}}),
        spec(point("g", last), some(top, 2), "all", {"add": {"values": values(2)}}),
        spec(point("o", 0), "all", sentence(-1, 1), {"scale": {"factor": -1.5}}),
        spec(point("c", 0), some(1, top - 1), sentence(0), {"add": {"values": [2.0, -2.0]}}),
        spec(point("c", last), "all", rows(3, 12), "zero"),
        spec(point("c", 0), some(4), "all", {"mean": {"values": values(1)}}),
        spec(point("h", 0), "all", rows(0, 10), {"patch": {"values": values(2 * w("h", 0))}}),
        spec(point("h", last), some(2, 6), "all", {"patch": {"values": values(2 * sum(LENGTHS))}}),
        spec(point("h", last), "all", sentence(2, 40), "zero"),
        spec(point("resid_post", 0), some(0, 6), "all", {"scale": {"factor": 3.0}}),
        spec(point("resid_post", last), "all", sentence(-1), {"add": {"values": values(w("resid_post", last))}}),
    ]
    if point("resid_pre", last) in widths:
        edits.append(spec(point("resid_pre", last), some(1, 3), rows(1, 8), {"set": {"value": 2.0}}))
    if point("m", 0) in widths:
        edits.append(spec(point("m", 0), some(2, top), rows(1, 4, 12), {"scale": {"factor": -2.0}}))
    combined = [
        spec(point("c", 0), some(3, 4), sentence(1), {"set": {"value": 1.5}}),
        spec(point("c", 0), some(4), sentence(1), {"scale": {"factor": 2.0}}),
        spec(point("f", 0), some(0, 4), "all", {"add": {"values": [0.2, 0.1]}}),
        spec(point("h", last), some(1), rows(2, 10), "zero"),
    ]
    return edits, combined


def make(folder, model, seed):
    folder = HERE / folder
    folder.mkdir(exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.tensors.items()}, folder / "model.safetensors")
    if model.config:
        (folder / "config.json").write_text(json.dumps(model.config, indent=2) + "\n")
    model.prepare({k: v.double() for k, v in model.tensors.items()})
    rng = np.random.default_rng(seed)
    sentences = [rng.integers(1, V, n).tolist() for n in LENGTHS]
    sites, logits = run(model, sentences)
    for tokens, part in zip(sentences, logits.split(LENGTHS)):
        model.check(tokens, part)
    edits, combined = edits_for(model, {name: values.shape[1] for name, values in sites.items()})
    arrays = {"tokens": torch.tensor(sum(sentences, [])), "offsets": torch.tensor(np.cumsum([0, *LENGTHS]))}
    arrays |= {name: values.float() for name, values in sites.items()}
    arrays["logits"] = logits.float()
    for i, spec in enumerate(edits):
        arrays[f"edit.{i}"] = run(model, sentences, [spec])[1].float()
        change = (arrays[f"edit.{i}"] - arrays["logits"]).abs().max()
        assert change > 1e-3, f"{folder}: edit {i} changes nothing: {spec}"
    sites, logits = run(model, sentences, combined)
    arrays["combined.logits"] = logits.float()
    last = model.n_layers - 1
    for name in [point(site, last if layer == "last" else 0) for site, layer in map(lambda at: at.split("."), model.shown)]:
        arrays[f"combined.{name}"] = sites[name].float()
    save_file({name: values.contiguous() for name, values in arrays.items()}, folder / "expected.safetensors")
    for name, specs in [("edits.json", edits), ("combined.json", combined)]:
        lines = ",\n".join(json.dumps(spec) for spec in specs)
        (folder / name).write_text(f"[\n{lines}\n]\n")


MODELS = {
    "lstm": lambda: Torch(2, ("encoder", "rnn", "decoder")),
    "lstm-bidirectional": lambda: Torch(1, ("embedding", "lstm", "linear"), bidirectional=True, labels=9),
    "lstm-projection": lambda: Torch(2, ("encoder", "rnn", "decoder"), proj=7, bias=False),
    "lstm-deep": lambda: Torch(3, ("encoder", "rnn", "decoder"), bidirectional=True, proj=8, embed=16, tied=True),
    "char-rnn": CharRnn,
    "textgenrnn": TextGenRnn,
    "gru": lambda: Gru(2, ("encoder", "rnn", "decoder")),
    "gru-deep": lambda: Gru(2, ("embedding", "gru", "linear"), bidirectional=True, embed=2 * H, labels=9),
    "gru-plain": lambda: Gru(1, ("encoder", "rnn", "fc"), bias=False),
    "mlstm": Mlstm,
    "mlstm-plain": PlainMlstm,
}

if __name__ == "__main__":
    for number, (name, build) in enumerate(MODELS.items()):
        if not sys.argv[1:] or name in sys.argv[1:]:
            torch.manual_seed(31 + number)
            make(name, build(), 31 + number)
