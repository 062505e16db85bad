"""Makes the golden gradients: what PyTorch's autograd says of the models that make.py and make_recurrent.py made.

    python gradients.py [NAME ...]     # writes gradients.json and gradients.safetensors into bert/, gpt2/, llama/, lstm*/,
                                       # gru*/ and mlstm/, or those that are named

Made with python 3, torch 2.15.0, transformers 5.23.0, safetensors 0.8.0, numpy 2.4.6.

gradients.json has the objectives, as nissl writes an `Objective`. gradients.safetensors, T tokens of S sentences:
    tokens [T] i64, offsets [S + 1] i64
    targets [T] i64                              -1 where a position does not count
    <i>.values [S]                               objective i of each sentence
    <i>.<hook point> [T, width]                  its gradient; of patterns <i>.<hook point>.<sentence> [heads, queries, keys]
    loss [1]                                     the sum of the cross-entropies with the targets
    parameter.<name>                             its gradient with respect to a parameter, in the checkpoint's shape

All is computed in 64-bit floats on the 32-bit weights, and rounded to 32 bits. The gradient with respect to a site is
that with respect to a zero which is added to its values.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import make_recurrent
from make import FAMILIES, in_64_bits

HERE = pathlib.Path(__file__).parent
LENGTHS = [5, 1, 7]


def objectives(causal):
    """The last token's prediction and a contrast; all of a sentence where a position sees only those before it."""
    parts = [
        {"weight": 1.5, "objective": {"log_prob": {"token": 3, "position": -1}}},
        {"weight": -0.5, "objective": {"difference": {"target": 1, "foil": 6, "position": 0}}},
    ]
    whole = {"sequence": {"from": 1, "until": None}}
    classes = {"class_log_prob": {"class": 4, "classes": [2, 4, 7], "position": 0}}
    return [{"sum": {"parts": parts}}, whole if causal else classes]


def value(objective, logits, tokens):
    """An objective of a sentence's logits [T, V]."""
    kind, fields = next(iter(objective.items()))
    if kind == "sum":
        return sum(part["weight"] * value(part["objective"], logits, tokens) for part in fields["parts"])
    if kind == "sequence":
        log_probs = torch.log_softmax(logits, -1)
        return sum((log_probs[i, token] for i, token in enumerate(tokens[1:])), 0 * logits.sum())
    row = logits[fields["position"]]
    if kind == "log_prob":
        return torch.log_softmax(row, -1)[fields["token"]]
    if kind == "difference":
        return row[fields["target"]] - row[fields["foil"]]
    return torch.log_softmax(row[fields["classes"]], -1)[fields["classes"].index(fields["class"])]


class Transformer:
    def __init__(self, family):
        build, hook, self.modeling = FAMILIES[family]
        kind = type(build())
        self.model = kind.from_pretrained(HERE / family, attn_implementation="eager").eval()
        self.hooks = hook(self.model)
        in_64_bits(self.model)
        self.causal = family != "bert"
        self.n_logits = self.model.config.vocab_size

    def parameters(self):
        return dict(self.model.named_parameters())

    def run(self, sentences):
        """The logits of every sentence, and the zeros that were added at every site."""
        probes, logits = {}, []
        original = self.modeling.eager_attention_forward
        self.modeling.eager_attention_forward = self.hooks.attention
        for idx, tokens in enumerate(sentences):

            def at(name, values):
                probe = torch.zeros_like(values, requires_grad=True)
                probes[f"{name}.{idx}"] = probe
                return values + probe

            self.hooks.at = at
            logits.append(self.model(input_ids=torch.tensor([tokens])).logits[0])
        self.modeling.eager_attention_forward = original
        return logits, probes


class Recurrent:
    def __init__(self, folder):
        self.model = make_recurrent.MODELS[folder]()
        self.t = {name: t.double().requires_grad_() for name, t in load_file(HERE / folder / "model.safetensors").items()}
        self.model.prepare(self.t)
        self.causal = self.model.directions == 1
        self.n_logits = (self.model.config or {}).get("num_labels", make_recurrent.V)

    def parameters(self):
        return self.t if self.model.is_stored_as_used else None

    def run(self, sentences):
        n = sum(map(len, sentences))
        with torch.no_grad():
            sites, _ = make_recurrent.run(self.model, sentences)
        probes = {name: torch.zeros(n, v.shape[1], dtype=v.dtype, requires_grad=True) for name, v in sites.items()}
        original = make_recurrent.apply
        make_recurrent.apply = lambda spec, v, first_row: v + probes[spec["point"]][first_row : first_row + len(v)]
        _, logits = make_recurrent.run(self.model, sentences, [{"point": name} for name in probes])
        make_recurrent.apply = original
        return logits.split([len(tokens) for tokens in sentences]), probes


def gradients(of, wrt):
    """The gradients by name; zeros where nothing leads there."""
    found = torch.autograd.grad(of, list(wrt.values()), allow_unused=True) if wrt else []
    return {name: torch.zeros_like(x) if g is None else g for (name, x), g in zip(wrt.items(), found)}


def joined(parts):
    """Sentences one behind the other, but patterns, which stay apart."""
    sites = {}
    for name, part in parts.items():
        stem, _, idx = name.rpartition(".")
        if not idx.isdigit() or stem.endswith("hook_pattern"):
            sites[name] = part
        else:
            sites[stem] = torch.cat([sites[stem], part]) if stem in sites else part
    return sites


def make(folder, model, seed):
    rng = np.random.default_rng(seed)
    most = min(model.n_logits, 60)
    sentences = [rng.integers(1, most, n).tolist() for n in LENGTHS]
    targets = [int(t) if i % 4 != 1 else -1 for i, t in enumerate(rng.integers(0, model.n_logits, sum(LENGTHS)))]
    arrays = {"tokens": torch.tensor(sum(sentences, [])), "offsets": torch.tensor(np.cumsum([0, *LENGTHS]))}
    arrays["targets"] = torch.tensor(targets)
    wanted = objectives(model.causal)
    for i, objective in enumerate(wanted):
        logits, probes = model.run(sentences)
        values = [value(objective, part, tokens) for part, tokens in zip(logits, sentences)]
        arrays[f"{i}.values"] = torch.stack(values).detach().float()
        found = joined(gradients(sum(values), probes))
        arrays |= {f"{i}.{name}": g.detach().float() for name, g in found.items()}
    if model.parameters() is not None:
        arrays |= of_parameters(model, sentences, arrays)
    save_file({name: a.contiguous() for name, a in arrays.items()}, HERE / folder / "gradients.safetensors")
    lines = ",\n".join(json.dumps(objective) for objective in wanted)
    (HERE / folder / "gradients.json").write_text(f"[\n{lines}\n]\n")


def of_parameters(model, sentences, arrays):
    """The loss of all targets and its gradients with respect to the parameters."""
    logits, _ = model.run(sentences)
    loss = torch.nn.functional.cross_entropy(torch.cat(list(logits)), arrays["targets"], ignore_index=-1, reduction="sum")
    found = gradients(loss, model.parameters())
    return {"loss": loss.detach().float()[None]} | {f"parameter.{name}": g.float() for name, g in found.items()}


if __name__ == "__main__":
    asked = sys.argv[1:]
    for number, name in enumerate(FAMILIES):
        if not asked or name in asked:
            make(name, Transformer(name), 51 + number)
    recurrent = ["lstm", "lstm-bidirectional", "lstm-projection", "lstm-deep", "gru", "gru-deep", "mlstm"]
    for number, name in enumerate(recurrent):
        if not asked or name in asked:
            make(name, Recurrent(name), 61 + number)
