"""Makes the golden encoder-decoders: one small random model a family, and what transformers computes with it.

    python make_encoder_decoders.py [FAMILY ...]      # writes t5/, ... and heads/bart-sequence/ beside this file

Made with python 3, torch 2.15.0, transformers 5.23.0, safetensors 0.8.0, numpy 2.4.6.

Each folder holds
    config.json, model.safetensors   the model, 32-bit floats
    expected.safetensors             inputs and values, see below
    edits.json, combined.json        edits as nissl writes an `EditSpec`: each in a run of its own, all in one
    gradients.json, gradients.safetensors     as gradients.py says, at some points, without parameters
    generation.json                  what is generated: options as nissl writes a `Generation`, sources, new tokens

expected.safetensors; a sentence is a source and its target, one behind the other, S and T are rows of all of them:
    tokens [S + T] i64, offsets [n + 1] i64, sources [n] i64: the lengths of the sources
    <hook point> [S or T, width]                 what the site holds, of the rows that it reads
    <hook point of a pattern>.<sentence>         [heads, queries, keys]
    logits [T, vocabulary], edit.<i>, combined.logits, combined.<hook point>

Values are those of a run in 64-bit floats on the 32-bit weights, rounded to 32 bits; a run in 32 bits is checked
against them. Sentences run alone.
"""

import json
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

import gradients
from make import HERE, SITES, Hooks, apply, close

LENGTHS = [(5, 4), (1, 3), (14, 9)]
CROSS = {
    "cross_q": "cross_attn.hook_q",
    "cross_k": "cross_attn.hook_k",
    "cross_v": "cross_attn.hook_v",
    "cross_pattern": "cross_attn.hook_pattern",
    "cross_z": "cross_attn.hook_z",
    "cross_out": "hook_cross_attn_out",
    "resid_mid_cross": "hook_resid_mid_cross",
}
WRT = ["encoder.hook_embed", "encoder.1.attn.hook_v", "decoder.0.cross_attn.hook_k",
       "decoder.1.cross_attn.hook_pattern", "decoder.0.attn.hook_q", "decoder.1.mlp.hook_post"]


def point(stack, site, layer=None):
    name = {**SITES, **CROSS}[site]
    return f"{stack}.{name}" if layer is None else f"{stack}.{layer}.{name}"


def is_source(name):
    return name.startswith("encoder.") or name.endswith(("cross_attn.hook_k", "cross_attn.hook_v"))


class PairHooks(Hooks):
    def __init__(self, model, modeling):
        super().__init__(model)
        modeling.eager_attention_forward = self.attention

    def input(self, module, name):
        """In place only where the residual stream runs past the module."""
        if "resid_mid" in name:
            return super().input(module, name)
        module.register_forward_pre_hook(lambda _module, inputs: (self.replaced(name, inputs[0]), *inputs[1:]))

    def attention(self, module, query, key, value, attention_mask, scaling=None, position_bias=None, **kwargs):
        if position_bias is not None:
            attention_mask = position_bias if attention_mask is None else attention_mask + position_bias
        return super().attention(module, query, key, value, attention_mask, scaling)

    def logits(self, source, target):
        tokens = {"input_ids": torch.tensor([source]), "decoder_input_ids": torch.tensor([target])}
        return self.model(**tokens, use_cache=False).logits[0]

    def side(self, stack, base, layers, final_norm, parts):
        """`parts` gives of a layer the modules whose output is a site, and those whose input is one."""
        self.input(layers[0], point(stack, "embed"))
        for i, layer in enumerate(layers):
            self.input(layer, point(stack, "resid_pre", i))
            outputs, inputs, patterns = parts(layer, stack == "decoder")
            for site, module in inputs.items():
                self.input(module, point(stack, site, i))
            for site, module in outputs.items():
                self.output(module, point(stack, site, i))
            for site, module in patterns.items():
                self.patterns[module] = point(stack, site, i)
        if final_norm is not None:
            self.output(final_norm, point(stack, "final_norm"))


def t5(model, modeling):
    def parts(block, decodes):
        own, feed = block.layer[0], block.layer[-1]
        attention, dense = own.SelfAttention, feed.DenseReluDense
        outputs = {"q": attention.q, "k": attention.k, "v": attention.v, "attn_out": attention.o, "mlp_out": dense.wo}
        inputs = {"z": attention.o, "post": dense.wo}
        patterns = {"pattern": attention}
        if hasattr(dense, "wi"):
            outputs["pre"] = dense.wi
        else:
            outputs |= {"pre": dense.wi_0, "pre_linear": dense.wi_1}
        if decodes:
            cross = block.layer[1].EncDecAttention
            outputs |= {"cross_q": cross.q, "cross_k": cross.k, "cross_v": cross.v, "cross_out": cross.o}
            inputs |= {"cross_z": cross.o, "resid_mid": block.layer[1].layer_norm, "resid_mid_cross": feed.layer_norm}
            patterns["cross_pattern"] = cross
        else:
            inputs["resid_mid"] = feed.layer_norm
        return {**outputs, "resid_post": block}, inputs, patterns

    hooks = PairHooks(model, modeling)
    for stack, base in [("encoder", model.encoder), ("decoder", model.decoder)]:
        hooks.side(stack, base, base.block, base.final_layer_norm, parts)
    return hooks


def like_bart(model, modeling, pre_norm=False):
    def parts(layer, decodes):
        own = layer.self_attn
        outputs = {"q": own.q_proj, "k": own.k_proj, "v": own.v_proj, "attn_out": own.out_proj,
                   "pre": layer.fc1, "mlp_out": layer.fc2}
        inputs = {"z": own.out_proj, "post": layer.fc2}
        patterns = {"pattern": own}
        if pre_norm:
            inputs["resid_mid"] = layer.encoder_attn_layer_norm if decodes else layer.final_layer_norm
        else:
            outputs["resid_mid"] = layer.self_attn_layer_norm
        if decodes:
            cross = layer.encoder_attn
            outputs |= {"cross_q": cross.q_proj, "cross_k": cross.k_proj, "cross_v": cross.v_proj,
                        "cross_out": cross.out_proj}
            inputs["cross_z"] = cross.out_proj
            patterns["cross_pattern"] = cross
            if pre_norm:
                inputs["resid_mid_cross"] = layer.final_layer_norm
            else:
                outputs["resid_mid_cross"] = layer.encoder_attn_layer_norm
        return {**outputs, "resid_post": layer}, inputs, patterns

    hooks = PairHooks(model, modeling)
    for stack, base in [("encoder", model.model.encoder), ("decoder", model.model.decoder)]:
        hooks.side(stack, base, base.layers, getattr(base, "layer_norm", None), parts)
    return hooks


def config(kind, **fields):
    return lambda: getattr(transformers, f"{kind}Config")(**fields)


T5 = dict(
    vocab_size=41, d_model=16, d_kv=6, d_ff=20, num_layers=2, num_heads=2, relative_attention_num_buckets=8,
    relative_attention_max_distance=12, dropout_rate=0.0, layer_norm_epsilon=3e-5, decoder_start_token_id=0,
)
BART = dict(
    vocab_size=41, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
    decoder_attention_heads=4, encoder_ffn_dim=20, decoder_ffn_dim=24, max_position_embeddings=64, dropout=0.0,
    attention_dropout=0.0, activation_dropout=0.0, classifier_dropout=0.0, pad_token_id=1, bos_token_id=0,
    eos_token_id=2, decoder_start_token_id=2,
)

# The class, a config, the hooks, positions that a head's units count.
FAMILIES = {
    "t5": ("T5ForConditionalGeneration", config("T5", **T5), t5, 1 << 16),
    "t5-gated": (
        "T5ForConditionalGeneration",
        config("T5", **T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False, num_decoder_layers=1),
        t5,
        1 << 16,
    ),
    "bart": (
        "BartForConditionalGeneration",
        config("Bart", **BART, forced_bos_token_id=0, forced_eos_token_id=2),
        like_bart,
        64,
    ),
    "mbart": (
        "MBartForConditionalGeneration",
        config("MBart", **BART, scale_embedding=True),
        lambda *model: like_bart(*model, pre_norm=True),
        64,
    ),
    "marian": (
        "MarianMTModel",
        config("Marian", **{**BART, "decoder_start_token_id": 40, "pad_token_id": 40, "eos_token_id": 0},
               scale_embedding=True, activation_function="swish", bad_words_ids=[[40]], forced_eos_token_id=0),
        like_bart,
        64,
    ),
    "umt5": ("UMT5ForConditionalGeneration", config("UMT5", **T5), t5, 1 << 16),
}


def randomize(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, weight in [*model.named_parameters(), *model.named_buffers()]:
        noise = torch.randn(weight.shape, generator=generator)
        if not weight.requires_grad and name != "final_logits_bias":
            continue
        if "norm" in name.lower():
            weight.data = 0.2 * noise if name.endswith("bias") else 1.0 + 0.3 * noise
        elif weight.dim() == 1 or name == "final_logits_bias":
            weight.data = 0.3 * noise
        elif "shared" in name or "embed" in name or "relative_attention_bias" in name:
            weight.data = 0.5 * noise
        else:
            # T5 does not scale its scores.
            less = 0.4 if name.endswith("Attention.q.weight") else 1.0
            weight.data = 1.3 * less * noise / weight.shape[-1] ** 0.5
    model.tie_weights()


def in_64_bits(model):
    model = model.double()
    for module in model.modules():
        if type(module).__name__.endswith("T5LayerNorm"):
            module.forward = lambda x, m=module: m.weight * (
                x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + m.variance_epsilon)
            )
    return model


def pairs_of(model, seed, lengths):
    rng = np.random.default_rng(seed)
    some = lambda n: rng.integers(3, model.config.vocab_size, n).tolist()
    return [(some(n), [model.config.decoder_start_token_id, *some(m - 1)]) for n, m in lengths]


def edited(spec, name, values, n_source, n_target, first_row, n_ctx, row=None):
    """The edit on the values of one side of a sentence, or of a row of it; its places and rows are those of both sides
    together."""
    rows = slice(0, n_source) if is_source(name) else slice(n_source, n_source + n_target)
    if row is not None:
        rows = slice(rows.start + row, rows.start + row + 1)
    ragged = name.endswith("hook_pattern")
    if ragged:
        heads, queries, keys = values.shape
        values = values.transpose(0, 1).reshape(queries, heads * keys)
        if spec["units"] != "all":
            units = [divmod(unit, n_ctx) for unit in spec["units"]["some"]]
            spec = {**spec, "units": {"some": [head * keys + key for head, key in units if key < keys]}}
    whole = torch.zeros(n_source + n_target, values.shape[1], dtype=values.dtype)
    whole[rows] = values
    values = apply(spec, whole, first_row)[rows]
    return values.reshape(queries, heads, keys).transpose(0, 1).contiguous() if ragged else values.clone()


def run(hooks, pairs, n_ctx, edits=()):
    sites, logits, first_row = {}, [], 0
    for idx, (source, target) in enumerate(pairs):

        def at(name, values, row=None):
            for spec in edits:
                if spec["point"] == name:
                    values = edited(spec, name, values, len(source), len(target), first_row, n_ctx, row)
            if name.endswith("hook_pattern"):
                sites[f"{name}.{idx}"] = values.clone()
            else:
                sites.setdefault(name, []).append(values.clone())
            return values

        hooks.at = at
        with torch.no_grad():
            logits.append(hooks.logits(source, target))
        first_row += len(source) + len(target)
    return {name: torch.cat(v) if isinstance(v, list) else v for name, v in sites.items()}, torch.cat(logits)


def edits_for(widths, n_ctx):
    rng = np.random.default_rng(5)
    values = lambda n: [round(float(v), 3) for v in rng.normal(0, 1, n)]
    some = lambda *units: {"some": list(units)}
    sentence = lambda *places: {"in_sentence": list(places)}
    rows = lambda *numbers: {"rows": list(numbers)}
    key = lambda head, place: head * n_ctx + place
    last = max(int(name.split(".")[1]) for name in widths if name.startswith("decoder.") and name.split(".")[1].isdigit())

    def spec(name, units, positions, edit):
        return {"point": name, "units": units, "positions": positions, "edit": edit}

    e, d = (lambda *a: point("encoder", *a)), (lambda *a: point("decoder", *a))
    edits = [
        spec(e("embed"), "all", sentence(0), {"scale": {"factor": 0.5}}),
        spec(e("resid_pre", 1), some(3, 1), "all", {"mean": {"values": values(2)}}),
        spec(e("q", 0), some(0, 5), "all", "zero"),
        spec(e("k", 1), some(7, 2), rows(1, 14), {"add": {"values": values(2)}}),
        spec(e("v", 0), "all", sentence(0, 2), "zero"),
        spec(e("pattern", 0), some(key(1, 0)), sentence(0, 3), {"set": {"value": 0.75}}),
        spec(e("z", 1), some(11, 4), "all", {"scale": {"factor": -2.0}}),
        spec(e("attn_out", 0), "all", "all", {"add": {"values": values(widths[e("attn_out", 0)])}}),
        spec(e("resid_mid", 0), some(6), "all", {"set": {"value": 3.0}}),
        spec(e("pre", 1), some(10, 2, 13), "all", {"set": {"value": 0.25}}),
        spec(e("post", 0), "all", rows(2, 11), {"patch": {"values": values(2 * widths[e("post", 0)])}}),
        spec(e("mlp_out", 1), "all", sentence(4), "zero"),
        spec(e("resid_post", 1), some(0, 15), "all", {"scale": {"factor": 2.0}}),
        spec(d("embed"), some(2, 9), sentence(-1, -2), "zero"),
        spec(d("resid_pre", last), some(4), "all", {"scale": {"factor": -1.0}}),
        spec(d("q", 0), some(3), sentence(-1), {"scale": {"factor": 3.0}}),
        spec(d("k", last), "all", sentence(5, 14), "zero"),
        spec(d("v", 0), some(0, 8), "all", {"scale": {"factor": 2.0}}),
        spec(d("pattern", last), some(key(0, 0), key(1, 1)), "all", {"set": {"value": 0.3}}),
        spec(d("z", 0), "all", rows(7, 12), {"patch": {"values": values(2 * widths.get(d("z", 0), 0))}}),
        spec(d("attn_out", last), "all", sentence(-1), "zero"),
        spec(d("resid_mid", 0), some(1), "all", {"add": {"values": values(1)}}),
        spec(d("cross_q", 0), some(4, 1), "all", {"scale": {"factor": -1.5}}),
        spec(d("cross_k", 0), "all", sentence(0), {"scale": {"factor": 2.5}}),
        spec(d("cross_v", last), some(2, 3), rows(0, 9, 15), {"add": {"values": values(2)}}),
        spec(d("cross_pattern", 0), some(key(1, 0), key(0, 2)), "all", {"set": {"value": 0.5}}),
        spec(d("cross_pattern", last), "all", sentence(-1), "zero"),
        spec(d("cross_z", last), some(0, 7), "all", "zero"),
        spec(d("cross_out", 0), "all", sentence(-1, -2), {"scale": {"factor": 1.5}}),
        spec(d("resid_mid_cross", last), some(5), "all", {"set": {"value": -1.0}}),
        spec(d("pre", 0), some(1, 2), "all", {"set": {"value": 0.5}}),
        spec(d("post", last), "all", sentence(-1), {"scale": {"factor": -1.0}}),
        spec(d("mlp_out", 0), some(3), "all", "zero"),
        spec(d("resid_post", 0), "all", rows(6), {"patch": {"values": values(16)}}),
        spec(e("pre_linear", 0), some(1, 7), "all", "zero"),
        spec(d("pre_linear", 0), some(1, 7), sentence(-1), {"scale": {"factor": -1.0}}),
        spec(e("final_norm"), some(8, 2), "all", {"add": {"values": values(2)}}),
        spec(d("final_norm"), some(8), "all", {"scale": {"factor": 2.0}}),
    ]
    combined = [
        spec(e("post", 0), some(3, 4, 5), "all", {"set": {"value": 1.5}}),
        spec(d("cross_v", 0), some(4), "all", {"scale": {"factor": 2.0}}),
        spec(d("resid_mid_cross", 0), "all", sentence(-1), {"add": {"values": values(16)}}),
        spec(d("v", last), some(1), rows(7, 10), "zero"),
    ]
    has = lambda edit: edit["point"] in widths
    return [edit for edit in edits if has(edit)], combined


def write(path, specs):
    path.write_text("[\n" + ",\n".join(json.dumps(spec) for spec in specs) + "\n]\n")


def make(family, seed):
    name, config, hook, n_ctx = FAMILIES[family]
    folder = HERE / family
    torch.manual_seed(seed)
    kind = getattr(transformers, name)
    model = kind._from_config(config(), attn_implementation="eager").eval()
    randomize(model, seed)
    model.save_pretrained(folder)
    model = kind.from_pretrained(folder, attn_implementation="eager").eval()
    modeling = sys.modules[type(model).__module__]
    pairs = pairs_of(model, seed, LENGTHS)
    with torch.no_grad():
        plain = [model(input_ids=torch.tensor([s]), decoder_input_ids=torch.tensor([t])).logits[0] for s, t in pairs]
    make_generation(folder, kind, model.config)

    original = modeling.eager_attention_forward
    hooks = hook(model, modeling)
    sites_32, logits_32 = run(hooks, pairs, n_ctx)
    close(f"{family} hooked", logits_32, torch.cat(plain), 1e-5)
    in_64_bits(model)
    sites, logits = run(hooks, pairs, n_ctx)
    close(f"{family} logits", logits_32, logits, 2e-5)
    for name, want in sites.items():
        close(f"{family} {name}", sites_32[name], want, 1e-5)
    widths = {name.removesuffix(".0") if "pattern" in name else name: v.shape[-1] for name, v in sites.items()}
    edits, combined = edits_for(widths, n_ctx)
    bare = lambda name: ".".join(part for part in name.split(".") if not part.isdigit())
    missing = {bare(name) for name in sites} - {bare(spec["point"]) for spec in edits}
    assert not missing, f"{family}: no edit at {missing}"
    arrays = packed(pairs) | {name: values.float() for name, values in sites.items()}
    arrays["logits"] = logits.float()
    for i, spec in enumerate(edits):
        arrays[f"edit.{i}"] = run(hooks, pairs, n_ctx, [spec])[1].float()
        change = (arrays[f"edit.{i}"] - arrays["logits"]).abs().max()
        assert change > 1e-3, f"{family}: edit {i} changes nothing: {spec}"
    sites, logits = run(hooks, pairs, n_ctx, combined)
    arrays["combined.logits"] = logits.float()
    for name in [spec["point"] for spec in combined] + ["decoder.ln_final.hook_normalized", "encoder.1.hook_resid_post"]:
        if name in sites:
            arrays[f"combined.{name}"] = sites[name].float()
    save_file({name: values.contiguous() for name, values in arrays.items()}, folder / "expected.safetensors")
    write(folder / "edits.json", edits)
    write(folder / "combined.json", combined)
    make_gradients(folder, hooks, seed)
    modeling.eager_attention_forward = original


def packed(pairs):
    lengths = [len(source) + len(target) for source, target in pairs]
    return {
        "tokens": torch.tensor(sum([source + target for source, target in pairs], [])),
        "offsets": torch.tensor(np.cumsum([0, *lengths])),
        "sources": torch.tensor([len(source) for source, _ in pairs]),
    }


def make_gradients(folder, hooks, seed):
    pairs = pairs_of(hooks.model, seed + 1, [(3, 2), (5, 4)])
    wanted = [{"sum": {"parts": [
        {"weight": 1.5, "objective": {"log_prob": {"token": 3, "position": -1}}},
        {"weight": -0.5, "objective": {"difference": {"target": 1, "foil": 6, "position": -2}}},
    ]}}, {"sequence": {"from": 1, "until": None}}]
    arrays = packed(pairs)
    for i, objective in enumerate(wanted):
        probes, values = {}, []
        for idx, (source, target) in enumerate(pairs):

            def at(name, value, row=None):
                if name not in WRT:
                    return value
                number = f"{name}.{idx}" if row is None else f"{name}.{1000 * idx + row}"
                probes[number] = torch.zeros_like(value, requires_grad=True)
                return value + probes[number]

            hooks.at = at
            values.append(gradients.value(objective, hooks.logits(source, target), target))
        arrays[f"{i}.values"] = torch.stack(values).detach().float()
        found = gradients.joined(gradients.gradients(sum(values), probes))
        arrays |= {f"{i}.{name}": g.detach().float() for name, g in found.items()}
    save_file({name: a.contiguous() for name, a in arrays.items()}, folder / "gradients.safetensors")
    write(folder / "gradients.json", wanted)


def make_generation(folder, kind, config):
    """Greedy and beam search, in 64-bit floats."""
    model = in_64_bits(kind.from_pretrained(folder).eval())
    sources = [source for source, _ in pairs_of(model, 7, [(6, 1), (1, 1), (11, 1)])]
    eos = config.eos_token_id
    cases = []
    for options in [
        {"max_new_tokens": 12},
        {"max_new_tokens": 9, "repetition_penalty": 1.6},
        {"max_new_tokens": 10, "min_new_tokens": 5},
        {"max_new_tokens": 12, "n_beams": 3},
        {"max_new_tokens": 9, "n_beams": 4, "length_penalty": 2.0, "early_stopping": True},
        {"max_new_tokens": 12, "n_beams": 2, "stop_tokens": [eos, 7, 11]},
        {"max_new_tokens": 12, "stop_tokens": [5, 6, 7, 8, 9, 10, 11, 12, 13, 14]},
    ]:
        own = {"n_beams": "num_beams", "stop_tokens": "eos_token_id"}
        named = {own.get(name, name): value for name, value in options.items()}
        texts = []
        for source in sources:
            out = model.generate(
                torch.tensor([source]), attention_mask=torch.ones(1, len(source), dtype=torch.long), do_sample=False,
                return_dict_in_generate=True, output_scores=True, **named,
            )
            tokens = out.sequences[0, 1:].tolist()
            stop = options.get("stop_tokens", [eos])
            ends = [i for i, token in enumerate(tokens) if token in stop]
            tokens = tokens[: ends[0] + 1] if ends else tokens
            score = float(out.sequences_scores[0]) if options.get("n_beams", 1) > 1 else None
            texts.append({"prompt": source, "tokens": tokens, "score": score})
        cases.append({"options": options, "texts": texts})
    write(folder / "generation.json", cases)


def make_head(name, seed):
    """A classifier of texts, which are sources and, behind the token that starts the decoder, targets; the token that
    ends a text answers. Its files are as those of make_encoders.py."""
    folder = HERE / "heads" / name
    fields = {**BART, "encoder_layers": 1, "decoder_layers": 1, "num_labels": 3}
    model = transformers.BartForSequenceClassification._from_config(config("Bart", **fields)()).eval()
    randomize(model, seed)
    model.save_pretrained(folder)
    rng = np.random.default_rng(seed)
    sentences = [[*rng.integers(3, BART["vocab_size"], n).tolist(), BART["eos_token_id"]] for n in [6, 1]]
    in_64_bits(model)
    with torch.no_grad():
        logits = torch.cat([model(input_ids=torch.tensor([tokens])).logits for tokens in sentences])
    arrays = {"tokens": torch.tensor(sum(sentences, [])), "offsets": torch.tensor([0, 7, 9])}
    save_file({**arrays, "logits": logits.float().contiguous()}, folder / "expected.safetensors")


if __name__ == "__main__":
    for number, name in enumerate(FAMILIES):
        if not sys.argv[1:] or name in sys.argv[1:]:
            make(name, 161 + number)
    if not sys.argv[1:] or "bart-sequence" in sys.argv[1:]:
        make_head("bart-sequence", 171)
