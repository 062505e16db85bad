"""Makes the golden models: one small random model a family, and what transformers computes with it.

    python make.py            # writes bert/, gpt2/, llama/ beside this file

Made with python 3, torch 2.15.0, transformers 5.23.0, safetensors 0.8.0, numpy 2.4.6.

Each folder holds
    config.json, model.safetensors   the model, 32-bit floats
    expected.safetensors             inputs and values, see below
    edits.json                       one edit a line, as nissl writes an `EditSpec`
    combined.json                    several edits that act in one run

expected.safetensors, T tokens of S sentences one behind the other:
    tokens [T] i64, offsets [S + 1] i64
    <hook point> [T, width]                      what the site holds, e.g. blocks.0.attn.hook_q
    blocks.0.attn.hook_pattern.<sentence>        [heads, queries, keys]
    logits [T, vocabulary]
    edit.<i> [T, vocabulary]                     the logits when edits.json[i] acts
    combined.logits, combined.<hook point>       the same for all of combined.json; captures come after the edits

Every sentence is run alone, so nothing is padded. Values are those of a run in 64-bit floats on the 32-bit weights,
rounded to 32 bits; a run in 32 bits is checked against them. Where transformers computes parts in 32 bits whatever the
model (the norm, softmax and rotary angles of Llama), those parts are replaced by 64-bit ones for the reference run.
"""

import json
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)
from transformers.models.bert import modeling_bert
from transformers.models.gpt2 import modeling_gpt2
from transformers.models.llama import modeling_llama

HERE = pathlib.Path(__file__).parent
LENGTHS = [7, 1, 17]
N_CTX = 64
SITES = {
    "embed": "hook_embed",
    "resid_pre": "hook_resid_pre",
    "q": "attn.hook_q",
    "k": "attn.hook_k",
    "v": "attn.hook_v",
    "pattern": "attn.hook_pattern",
    "z": "attn.hook_z",
    "attn_out": "hook_attn_out",
    "resid_mid": "hook_resid_mid",
    "router": "mlp.hook_router",
    "weights": "mlp.hook_expert_weights",
    "pre": "mlp.hook_pre",
    "pre_linear": "mlp.hook_pre_linear",
    "post": "mlp.hook_post",
    "mlp_out": "hook_mlp_out",
    "resid_post": "hook_resid_post",
    "final_norm": "ln_final.hook_normalized",
}


def point(site, layer=None):
    name = SITES[site]
    return name if layer is None else f"blocks.{layer}.{name}"


def site_of(name):
    """The site of a hook point or of a key of expected.safetensors."""
    name = name.split(".", 2)[2] if name.startswith("blocks.") else name
    return SITES["pattern"] if name.startswith(SITES["pattern"]) else name


# ---------------------------------------------------------------------------------------------------------- the models


def bert():
    config = BertConfig(
        vocab_size=71,
        hidden_size=36,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=52,
        max_position_embeddings=N_CTX,
        hidden_act="gelu",
        layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
    )
    return BertForMaskedLM._from_config(config, attn_implementation="eager")


def gpt2():
    config = GPT2Config(
        vocab_size=83,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_inner=56,
        n_positions=N_CTX,
        activation_function="gelu_new",
        layer_norm_epsilon=1e-4,
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel._from_config(config, attn_implementation="eager")


def llama():
    config = LlamaConfig(
        vocab_size=77,
        hidden_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=12,  # not 40 / 4
        intermediate_size=44,
        max_position_embeddings=N_CTX,
        rms_norm_eps=3e-4,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM._from_config(config, attn_implementation="eager")


def randomize(model, seed):
    """No weight keeps a value that hides an error: norms are not 1, biases are not 0, attention is not even."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if "norm" in name.lower() or ".ln_" in name:
            weight.data = 0.2 * noise if name.endswith("bias") else 1.0 + 0.3 * noise
        elif weight.dim() == 1:
            weight.data = 0.3 * noise
        elif "embed" in name or "wte" in name or "wpe" in name:
            weight.data = 0.5 * noise
        else:
            fan_in = weight.shape[0] if "c_" in name else weight.shape[1]  # GPT-2 keeps its matrices transposed
            weight.data = 1.6 * noise / fan_in**0.5
    model.tie_weights()


# ----------------------------------------------------------------------------------------------------------- the hooks


class Hooks:
    """Calls `self.at(point, values)` at every site; what it returns replaces the values. Values are [rows, width]."""

    def __init__(self, model):
        self.model = model
        self.patterns = {}  # attention module -> hook point
        self.at = lambda point, values: values

    def output(self, module, name):
        def hook(_module, _inputs, output):
            if not torch.is_tensor(output):
                return (self.replaced(name, output[0]), *output[1:])
            return self.replaced(name, output)

        module.register_forward_hook(hook)

    def input(self, module, name):
        """In place: the residual stream that runs past the module is the same tensor."""

        def hook(_module, inputs):
            inputs[0].copy_(self.replaced(name, inputs[0]))

        module.register_forward_pre_hook(hook)

    def replaced(self, name, values):
        return self.at(name, values[0].clone())[None]

    def attention(self, module, query, key, value, attention_mask, scaling=None, dropout=0.0, **kwargs):
        """What the eager attention of transformers computes, with a hook at the probabilities."""
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        scores = query @ key.transpose(2, 3) * (scaling if scaling is not None else query.shape[-1] ** -0.5)
        if attention_mask is not None:
            scores = scores + attention_mask
        pattern = torch.softmax(scores, -1)
        if module in self.patterns:
            pattern = self.at(self.patterns[module], pattern[0].clone())[None]
        return (pattern @ value).transpose(1, 2).contiguous(), pattern


def hook_bert(model):
    hooks = Hooks(model)
    hooks.output(model.bert.embeddings, point("embed"))
    for i, layer in enumerate(model.bert.encoder.layer):
        attention = layer.attention
        hooks.input(layer, point("resid_pre", i))
        hooks.output(attention.self.query, point("q", i))
        hooks.output(attention.self.key, point("k", i))
        hooks.output(attention.self.value, point("v", i))
        hooks.patterns[attention.self] = point("pattern", i)
        hooks.input(attention.output.dense, point("z", i))
        hooks.output(attention.output.dense, point("attn_out", i))
        hooks.output(attention.output.LayerNorm, point("resid_mid", i))
        hooks.output(layer.intermediate.dense, point("pre", i))
        hooks.input(layer.output.dense, point("post", i))
        hooks.output(layer.output.dense, point("mlp_out", i))
        hooks.output(layer.output.LayerNorm, point("resid_post", i))
    return hooks


def hook_gpt2(model):
    hooks = Hooks(model)
    hooks.output(model.transformer.drop, point("embed"))
    for i, layer in enumerate(model.transformer.h):

        def split(_module, _inputs, output, i=i):
            parts = output.chunk(3, -1)
            return torch.cat([hooks.replaced(point(s, i), part) for s, part in zip("qkv", parts)], -1)

        hooks.input(layer, point("resid_pre", i))
        layer.attn.c_attn.register_forward_hook(split)
        hooks.patterns[layer.attn] = point("pattern", i)
        hooks.input(layer.attn.c_proj, point("z", i))
        hooks.output(layer.attn.c_proj, point("attn_out", i))
        hooks.input(layer.ln_2, point("resid_mid", i))
        hooks.output(layer.mlp.c_fc, point("pre", i))
        hooks.input(layer.mlp.c_proj, point("post", i))
        hooks.output(layer.mlp.c_proj, point("mlp_out", i))
        hooks.output(layer, point("resid_post", i))
    hooks.output(model.transformer.ln_f, point("final_norm"))
    return hooks


def hook_llama(model):
    hooks = Hooks(model)
    hooks.output(model.model.embed_tokens, point("embed"))
    for i, layer in enumerate(model.model.layers):
        hooks.input(layer, point("resid_pre", i))
        hooks.output(layer.self_attn.q_proj, point("q", i))
        hooks.output(layer.self_attn.k_proj, point("k", i))
        hooks.output(layer.self_attn.v_proj, point("v", i))
        hooks.patterns[layer.self_attn] = point("pattern", i)
        hooks.input(layer.self_attn.o_proj, point("z", i))
        hooks.output(layer.self_attn.o_proj, point("attn_out", i))
        hooks.input(layer.post_attention_layernorm, point("resid_mid", i))
        hooks.output(layer.mlp.gate_proj, point("pre", i))
        hooks.output(layer.mlp.up_proj, point("pre_linear", i))
        hooks.input(layer.mlp.down_proj, point("post", i))
        hooks.output(layer.mlp.down_proj, point("mlp_out", i))
        hooks.output(layer, point("resid_post", i))
    hooks.output(model.model.norm, point("final_norm"))
    return hooks


FAMILIES = {
    "bert": (bert, hook_bert, modeling_bert),
    "gpt2": (gpt2, hook_gpt2, modeling_gpt2),
    "llama": (llama, hook_llama, modeling_llama),
}


def in_64_bits(model):
    """The model in 64-bit floats, with Llama's norm and rotary angles too."""
    model = model.double()
    for module in model.modules():
        if isinstance(module, modeling_llama.LlamaRMSNorm):
            module.forward = lambda x, m=module: m.weight * (
                x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + m.variance_epsilon)
            )
        if isinstance(module, modeling_llama.LlamaRotaryEmbedding):
            width = model.config.head_dim
            theta = model.config.rope_parameters["rope_theta"]

            def angles(x, position_ids, width=width, theta=theta):
                steps = theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
                turn = position_ids[..., None].double() * steps
                turn = torch.cat([turn, turn], -1)
                return turn.cos(), turn.sin()

            module.forward = angles
    return model


# ----------------------------------------------------------------------------------------------------------- the edits


def edits_for(widths, n_heads):
    """One edit for every site, every kind of edit and every way to choose positions."""
    rng = np.random.default_rng(5)
    rows_all = sum(LENGTHS)

    def values(n):
        return [round(float(v), 3) for v in rng.normal(0, 1, n)]

    def spec(name, units, positions, edit):
        return {"point": name, "units": units, "positions": positions, "edit": edit}

    some = lambda *units: {"some": list(units)}
    sentence = lambda *places: {"in_sentence": list(places)}
    rows = lambda *numbers: {"rows": list(numbers)}
    key = lambda head, place: head * N_CTX + place
    width = lambda name: widths[name]
    edits = [
        spec(point("embed"), "all", sentence(0), {"scale": {"factor": 0.5}}),
        spec(point("resid_pre", 1), some(3, 1), "all", {"mean": {"values": values(2)}}),
        spec(point("q", 0), some(0, 5, 13), "all", "zero"),
        spec(point("k", 1), some(7, 2), rows(1, 8, 20), {"add": {"values": values(2)}}),
        spec(point("v", 0), "all", sentence(-1, 2), "zero"),
        spec(point("pattern", 0), some(key(1, 0)), sentence(1, -1), {"set": {"value": 0.75}}),
        spec(point("pattern", 1), some(*(key(n_heads - 1, k) for k in range(N_CTX))), "all", "zero"),
        spec(point("pattern", 1), some(key(0, 1), key(0, 0)), rows(3, 24), {"patch": {"values": [0.2, 0.7, 0.1, 0.4]}}),
        spec(point("z", 1), some(11, 4), "all", {"scale": {"factor": -2.0}}),
        spec(point("z", 0), "all", rows(2, 7), {"patch": {"values": values(2 * width(point("z", 0)))}}),
        spec(point("attn_out", 0), "all", "all", {"add": {"values": values(width(point("attn_out", 0)))}}),
        spec(point("resid_mid", 0), "all", rows(0, 9), "zero"),
        spec(point("resid_mid", 1), some(6), sentence(0, -2), {"set": {"value": 3.0}}),
        spec(point("pre", 1), some(20, 21, 30), "all", {"set": {"value": -0.25}}),
        spec(point("post", 0), some(40, 8), "all", "zero"),
        spec(point("post", 1), some(9, 2), "all", {"patch": {"values": values(2 * rows_all)}}),
        spec(point("mlp_out", 0), "all", sentence(-1), {"mean": {"values": values(width(point("mlp_out", 0)))}}),
        spec(point("resid_post", 0), some(0, 31), sentence(1, 40), {"scale": {"factor": 3.0}}),
        spec(point("resid_post", 1), "all", rows(5), {"patch": {"values": values(width(point("resid_post", 1)))}}),
    ]
    if point("final_norm") in widths:
        edits.append(spec(point("final_norm"), some(2, 30), "all", {"add": {"values": values(2)}}))
    if point("pre_linear", 0) in widths:
        edits.append(spec(point("pre_linear", 0), some(17, 1), sentence(-1, 0), {"scale": {"factor": -1.5}}))
    edits += [
        spec(point("router", 0), some(1), sentence(-1, 0), {"scale": {"factor": -3.0}}),
        spec(point("weights", 1), some(2), "all", {"set": {"value": 0.6}}),
        spec(point("weights", 0), some(0, 3), rows(2, 9), "zero"),
    ]
    combined = [
        spec(point("post", 0), some(3, 4, 5), "all", {"set": {"value": 1.5}}),
        spec(point("post", 0), some(4), "all", {"scale": {"factor": 2.0}}),
        spec(point("resid_mid", 1), "all", sentence(-1), {"add": {"values": values(width(point("resid_post", 0)))}}),
        spec(point("v", 1), some(1), rows(2, 10), "zero"),
    ]
    has = lambda edit: edit["point"] in widths or f"{edit['point']}.0" in widths
    return [edit for edit in edits if has(edit)], [edit for edit in combined if has(edit)]


def apply(spec, values, first_row):
    """The edit on a sentence's values [rows, width]; `first_row` is the sentence's first row in the batch."""
    n_rows, width = values.shape
    units = list(range(width)) if spec["units"] == "all" else spec["units"]["some"]
    if spec["positions"] == "all":
        chosen = [(row, first_row + row) for row in range(n_rows)]
    elif "in_sentence" in spec["positions"]:
        places = [p + n_rows if p < 0 else p for p in spec["positions"]["in_sentence"]]
        chosen = [(p, None) for p in places if 0 <= p < n_rows]
    else:
        batch_rows = spec["positions"]["rows"]
        chosen = [(row - first_row, i) for i, row in enumerate(batch_rows) if 0 <= row - first_row < n_rows]
    kind, fields = (spec["edit"], {}) if isinstance(spec["edit"], str) else next(iter(spec["edit"].items()))
    given = torch.tensor(np.asarray(fields.get("values", []), dtype=np.float32)).to(values.dtype)
    for row, patch_row in chosen:
        old = values[row, units]
        values[row, units] = {
            "zero": lambda: 0 * old,
            "set": lambda: 0 * old + fields["value"],
            "scale": lambda: old * fields["factor"],
            "mean": lambda: given,
            "add": lambda: old + given,
            "patch": lambda: given[patch_row * len(units) : (patch_row + 1) * len(units)],
        }[kind]()
    return values


def apply_to_pattern(spec, pattern, first_row):
    """The same on a pattern [heads, queries, keys], whose units are `head * N_CTX + key` and whose rows are queries."""
    heads, queries, keys = pattern.shape
    wide = torch.zeros(queries, heads, N_CTX, dtype=pattern.dtype)
    wide[:, :, :keys] = pattern.transpose(0, 1)
    wide = apply(spec, wide.reshape(queries, heads * N_CTX), first_row).reshape(queries, heads, N_CTX)
    return wide[:, :, :keys].transpose(0, 1).contiguous()


# ------------------------------------------------------------------------------------------------------------- the run


def run(hooks, sentences, edits=()):
    """Every site's values of every sentence, and the logits, each sentence alone."""
    sites, logits, first_row = {}, [], 0
    for idx, tokens in enumerate(sentences):

        def at(name, values):
            ragged = name.endswith("hook_pattern")
            for spec in edits:
                if spec["point"] == name:
                    values = (apply_to_pattern if ragged else apply)(spec, values, first_row)
            if ragged:
                sites[f"{name}.{idx}"] = values.clone()
            else:
                sites.setdefault(name, []).append(values.clone())
            return values

        hooks.at = at
        with torch.no_grad():
            logits.append(hooks.model(input_ids=torch.tensor([tokens])).logits[0])
        first_row += len(tokens)
    joined = {name: torch.cat(v) if isinstance(v, list) else v for name, v in sites.items()}
    return joined, torch.cat(logits)


def close(label, got, want, tolerance):
    scale = want.abs().max().item()
    worst = (got.double() - want.double()).abs().max().item()
    assert worst <= tolerance * max(scale, 1.0), f"{label}: differs by {worst}, scale {scale}"


def make(family, seed):
    build, hook, modeling = FAMILIES[family]
    folder = HERE / family
    torch.manual_seed(seed)
    model = build().eval()
    randomize(model, seed)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)

    rng = np.random.default_rng(seed)
    sentences = [rng.integers(0, model.config.vocab_size, n).tolist() for n in LENGTHS]
    with torch.no_grad():
        plain = [model(input_ids=torch.tensor([tokens])).logits[0] for tokens in sentences]

    hooks = hook(model)
    original = modeling.eager_attention_forward
    modeling.eager_attention_forward = hooks.attention
    sites_32, logits_32 = run(hooks, sentences)
    close(f"{family} hooked", logits_32, torch.cat(plain), 1e-5)
    in_64_bits(model)
    sites, logits = run(hooks, sentences)
    close(f"{family} logits", logits_32, logits, 1e-5)
    for name, want in sites.items():
        close(f"{family} {name}", sites_32[name], want, 1e-5)

    widths = {name: values.shape[-1] for name, values in sites.items()}
    n_heads = sites[point("pattern", 0) + ".0"].shape[0]
    edits, combined = edits_for(widths, n_heads)
    missing = {site_of(name) for name in sites} - {site_of(spec["point"]) for spec in edits}
    assert not missing, f"{family}: no edit at {missing}"

    arrays = {"tokens": torch.tensor(sum(sentences, []))}
    arrays["offsets"] = torch.tensor(np.cumsum([0, *LENGTHS]))
    arrays |= {name: values.float() for name, values in sites.items()}
    arrays["logits"] = logits.float()
    for i, spec in enumerate(edits):
        arrays[f"edit.{i}"] = run(hooks, sentences, [spec])[1].float()
        change = (arrays[f"edit.{i}"] - arrays["logits"]).abs().max()
        assert change > 1e-3, f"{family}: edit {i} changes nothing: {spec}"
    sites, logits = run(hooks, sentences, combined)
    arrays["combined.logits"] = logits.float()
    for name in [point("post", 0), point("v", 1), point("resid_mid", 1), point("resid_post", 1)]:
        arrays[f"combined.{name}"] = sites[name].float()
    modeling.eager_attention_forward = original

    save_file({name: values.contiguous() for name, values in arrays.items()}, folder / "expected.safetensors")
    for name, specs in [("edits.json", edits), ("combined.json", combined)]:
        lines = ",\n".join(json.dumps(spec) for spec in specs)
        (folder / name).write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    for number, name in enumerate(FAMILIES):
        make(name, 11 + number)
