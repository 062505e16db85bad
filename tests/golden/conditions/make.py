"""Makes what the golden models compute when edits act where a condition on another neuron holds.

    python make.py            # writes <model>.json beside this file

Made with python 3, torch 2.15.0, transformers 5.23.0. The models, their hooks and the edits are those of
../models/make.py and ../models/make_recurrent.py, in 64-bit floats.

Which rows an edit acts on is found by running: from the values of the last run follow the rows where the condition
holds, with them the next run is made, until the rows stay the same. Since a condition is never computed after its edit,
they do after as many runs as a sentence has tokens at most.

<model>.json: sentences, and cases: the edit as nissl writes an `EditSpec`, the rows it acted on, and the logits of the
last token of each sentence.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "models"))
import make  # noqa: E402
import make_recurrent  # noqa: E402

LENGTHS = make.LENGTHS
ENDS = np.cumsum(LENGTHS) - 1


def threshold(values):
    """Between two values in the middle that are far apart."""
    values = np.sort(np.asarray(values))
    third = len(values) // 3
    gaps = np.diff(values[third : 2 * third + 2])
    at = third + int(gaps.argmax())
    return round(float(values[at] + values[at + 1]) / 2, 3)


def rows_of(positions):
    starts = np.cumsum([0, *LENGTHS[:-1]])
    if positions == "all":
        return list(range(sum(LENGTHS)))
    places = positions["in_sentence"]
    found = [s + (p + n if p < 0 else p) for s, n in zip(starts, LENGTHS) for p in places if -n <= p < n]
    return sorted({int(row) for row in found})


def case(run, spec, neuron, bound):
    """The rows and logits of an edit; `bound` is `above` or `below`, or `both`."""
    name, idx = neuron[:-1].split("[")
    plain = run([])[0][name][:, int(idx)].tolist()
    at = threshold(plain)
    when = {"neuron": neuron}
    if bound != "below":
        when["above"] = at
    if bound != "above":
        when["below"] = at if bound == "below" else at + round(float(np.std(plain)), 3)
    holds = lambda v: when.get("above", -np.inf) < v < when.get("below", np.inf)
    rows = None
    while True:
        sites, logits = run([{**spec, "positions": {"rows": rows}}] if rows else [])
        values = sites[name][:, int(idx)].tolist()
        margin = min(abs(v - when[b]) for v in values for b in ("above", "below") if b in when)
        assert margin > 1e-4, f"{spec} {when}: a value is at the bound"
        new = [row for row in rows_of(spec["positions"]) if holds(values[row])]
        if new == rows:
            break
        rows = new
    assert 0 < len(rows) < len(rows_of(spec["positions"])), f"{spec} {when}: {len(rows)} rows"
    logits = [[round(v, 7) for v in row] for row in logits[ENDS].tolist()]
    return {"edit": {**spec, "when": when}, "rows": rows, "logits": logits}


def write(name, sentences, run, specs):
    cases = []
    for spec, neuron, bound in specs:
        cases.append(json.dumps(case(run, spec, neuron, bound)))
    body = ",\n".join(cases)
    (HERE / f"{name}.json").write_text(f'{{"sentences": {json.dumps(sentences)}, "cases": [\n{body}\n]}}\n')


def spec(point, units, positions, edit):
    return {"point": point, "units": units if units == "all" else {"some": units}, "positions": positions, "edit": edit}


def transformer(family, kind):
    _, hook, modeling = make.FAMILIES[family]
    folder = HERE.parent / "models" / family
    model = kind.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    hooks = hook(model)
    modeling.eager_attention_forward = hooks.attention
    make.in_64_bits(model)
    rng = np.random.default_rng(8)
    sentences = [rng.integers(0, model.config.vocab_size, n).tolist() for n in LENGTHS]
    p = make.point
    write(family, sentences, lambda edits: make.run(hooks, sentences, edits), [
        (spec(p("post", 1), [9, 2, 30], "all", "zero"), p("post", 0) + "[7]", "above"),
        (spec(p("resid_post", 0), "all", "all", {"scale": {"factor": 0.5}}), p("embed") + "[3]", "below"),
        (spec(p("pre", 0), [1, 5], "all", {"set": {"value": 2.0}}), p("pre", 0) + "[40]", "above"),
        (spec(p("v", 1), "all", "all", "zero"), p("q", 1) + "[2]", "both"),
        (spec(p("pattern", 1), [0, 1, make.N_CTX], "all", {"set": {"value": 0.5}}), p("resid_mid", 0) + "[4]", "below"),
        (spec(p("mlp_out", 1), [0, 6], {"in_sentence": [-1, 3, 4]}, {"add": {"values": [2.0, -1.0]}}), p("z", 1) + "[5]", "above"),
    ])


def recurrent(name):
    number = list(make_recurrent.MODELS).index(name)
    torch.manual_seed(31 + number)
    model = make_recurrent.MODELS[name]()
    model.prepare({k: v.double() for k, v in model.tensors.items()})
    rng = np.random.default_rng(8)
    sentences = [rng.integers(1, make_recurrent.V, n).tolist() for n in LENGTHS]
    p, last, top = make_recurrent.point, model.n_layers - 1, make_recurrent.H
    specs = [
        (spec(p("c", 0), [1, 4], "all", "zero"), p("f", 0) + "[3]", "above"),
        (spec(p("h", 0), [0, 2], "all", {"set": {"value": 0.9}}), p("c", 0) + "[5]", "below"),
        (spec(p("o", last), [2, 3], "all", {"scale": {"factor": -1.0}}), p("o", last) + "[0]", "above"),
        (spec(p("i", last), [1, 6], "all", "zero"), p("embed") + "[2]", "both"),
        (spec(p("resid_post", last), "all", "all", {"scale": {"factor": 2.0}}), p("h", last) + "[1]", "below"),
    ]
    if model.directions == 2:
        specs.append((spec(p("c", 0), [top, top + 2], "all", "zero"), p("i", 0) + "[0]", "above"))
        specs.append((spec(p("c", 0), [top + 1], "all", "zero"), p("c", 0) + "[2]", "above"))
        specs.append((spec(p("g", 1), [1, 2], "all", "zero"), p("h", 0) + f"[{model.d_state + 1}]", "below"))
    write(name, sentences, lambda edits: make_recurrent.run(model, sentences, edits), specs)


if __name__ == "__main__":
    transformer("bert", AutoModelForMaskedLM)
    transformer("gpt2", AutoModelForCausalLM)
    transformer("llama", AutoModelForCausalLM)
    for name in ["lstm", "lstm-deep", "textgenrnn"]:
        recurrent(name)
