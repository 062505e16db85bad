"""Makes the golden encoders: one small random model a family, its heads, and what transformers computes with them.

    python make_encoders.py [FAMILY ...]      # writes roberta/, distilbert/, ... and heads/FAMILY-HEAD/ beside this file

Made with python 3, torch 2.15.0, transformers 5.23.0, safetensors 0.8.0, numpy 2.4.6.

A family's folder is as make.py says, with
    gradients.json, gradients.safetensors     as gradients.py says, at four points, without parameters
and heads/<family>-<head>/ has config.json, model.safetensors, and expected.safetensors with tokens, offsets and
    logits [T, labels], or [S, labels] where the head is of a sentence
"""

import json
import math
import pathlib
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

import gradients
import make as shared
from make import HERE, LENGTHS, N_CTX, Hooks, apply, close, edits_for, point, run, site_of

SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=44, vocab_size=61)
PLAIN = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
WRT = [("q", 0), ("pattern", 1), ("resid_post", 0), ("post", 1)]
FIRST_TOKEN = 5  # the tokens before it mean padding and masks


class EncoderHooks(Hooks):
    """Hooks at modules that may be those of several layers; the number of the layer is counted."""

    def __init__(self, model):
        super().__init__(model)
        self.layer = 0

    def begin(self, module):
        """A layer begins with the module."""

        def hook(_module, _inputs):
            self.layer = self.next
            self.next += 1

        module.register_forward_pre_hook(hook)

    def reset(self, module):
        def hook(_module, _inputs, _kwargs):
            self.next = 0

        module.register_forward_pre_hook(hook, with_kwargs=True)

    def replaced(self, site, values):
        name = point(site, None if site in ("embed", "final_norm") else self.layer)
        return self.at(name, values[0].clone())[None]

    def pattern(self, module):
        """Of attentions that show their probabilities to a dropout."""
        module.register_forward_hook(lambda _m, _i, output: self.replaced("pattern", output))

    def attention(self, module, query, key, value, attention_mask, scaling=None, dropout=0.0, **kwargs):
        self.patterns[module] = point("pattern", self.layer)
        return super().attention(module, query, key, value, attention_mask, scaling, dropout, **kwargs)


def hook(model, base, embedded, layers, parts, pattern=None, final_norm=None, kind=EncoderHooks):
    """`parts` gives of a layer the modules: those whose output is a site, or whose input is one."""
    hooks = kind(model)
    hooks.reset(base)
    hooks.output(embedded, "embed")
    for layer in dict.fromkeys(layers):
        hooks.begin(layer)
        hooks.input(layer, "resid_pre")
        outputs, inputs = parts(layer)
        for site, module in inputs.items():
            hooks.input(module, site)
        for site, module in outputs.items():
            hooks.output(module, site)
        if pattern is not None:
            hooks.pattern(pattern(layer))
    if final_norm is not None:
        hooks.output(final_norm, "final_norm")
    return hooks


def bert_parts(layer, qkv=("query", "key", "value")):
    """Of layers named as BERT's."""
    attention = layer.attention
    return {
        "q": getattr(attention.self, qkv[0]),
        "k": getattr(attention.self, qkv[1]),
        "v": getattr(attention.self, qkv[2]),
        "attn_out": attention.output.dense,
        "resid_mid": attention.output.LayerNorm,
        "pre": layer.intermediate.dense,
        "mlp_out": layer.output.dense,
        "resid_post": layer.output.LayerNorm,
    }, {"z": attention.output.dense, "post": layer.output.dense}


def like_bert(model):
    base = model.base_model
    embedded = getattr(base, "embeddings_project", base.embeddings)
    return hook(model, base, embedded, base.encoder.layer, bert_parts)


def distilbert(model):
    def parts(layer):
        attention, ffn = layer.attention, layer.ffn
        return {
            "q": attention.q_lin,
            "k": attention.k_lin,
            "v": attention.v_lin,
            "attn_out": attention.out_lin,
            "resid_mid": layer.sa_layer_norm,
            "pre": ffn.lin1,
            "mlp_out": ffn.lin2,
            "resid_post": layer.output_layer_norm,
        }, {"z": attention.out_lin, "post": ffn.lin2}

    base = model.base_model
    return hook(model, base, base.embeddings, base.transformer.layer, parts)


def albert(model):
    def parts(layer):
        attention = layer.attention
        return {
            "q": attention.query,
            "k": attention.key,
            "v": attention.value,
            "attn_out": attention.dense,
            "resid_mid": attention.LayerNorm,
            "pre": layer.ffn,
            "mlp_out": layer.ffn_output,
            "resid_post": layer.full_layer_layer_norm,
        }, {"z": attention.dense, "post": layer.ffn_output}

    base = model.base_model
    layers = [group.albert_layers[0] for group in base.encoder.albert_layer_groups]
    return hook(model, base, base.encoder.embedding_hidden_mapping_in, layers, parts)


def mpnet(model):
    def parts(layer):
        attention = layer.attention
        return {
            "q": attention.attn.q,
            "k": attention.attn.k,
            "v": attention.attn.v,
            "attn_out": attention.attn.o,
            "resid_mid": attention.LayerNorm,
            "pre": layer.intermediate.dense,
            "mlp_out": layer.output.dense,
            "resid_post": layer.output.LayerNorm,
        }, {"z": attention.attn.o, "post": layer.output.dense}

    base = model.base_model
    pattern = lambda layer: layer.attention.attn.dropout
    return hook(model, base, base.embeddings, base.encoder.layer, parts, pattern)


def deberta(model):
    def parts(layer):
        outputs, inputs = bert_parts(layer, ("query_proj", "key_proj", "value_proj"))
        return {site: module for site, module in outputs.items() if site not in ("q", "k")}, inputs

    base = model.base_model
    pattern = lambda layer: layer.attention.self.dropout
    hooks = hook(model, base, base.embeddings, base.encoder.layer, parts, pattern)
    n_relative = base.encoder.rel_embeddings.weight.shape[0]
    for layer in base.encoder.layer:
        for site, module in [("q", layer.attention.self.query_proj), ("k", layer.attention.self.key_proj)]:

            def content(_module, _inputs, output, site=site):  # relative positions go through the same matrices
                return output if output.shape[1] == n_relative else hooks.replaced(site, output)

            module.register_forward_hook(content)
    return hooks


class XlnetHooks(EncoderHooks):
    """Its values are [T, 1, width]."""

    def replaced(self, site, values):
        name = point(site, None if site in ("embed", "final_norm") else self.layer)
        return self.at(name, values[:, 0].clone())[:, None]

    def attend(self, module):
        """What the module computes, with the sites; queries have the bias that they meet contents with."""

        def forward(h, g, mask_h, mask_g, r, seg_mat, **kwargs):
            assert g is None and mask_h is None and seg_mat is None
            heads = lambda site, x: self.replaced(site, x.flatten(2)).unflatten(2, (module.n_head, module.d_head))
            q = heads("q", torch.einsum("ibh,hnd->ibnd", h, module.q) + module.r_w_bias)
            k = heads("k", torch.einsum("ibh,hnd->ibnd", h, module.k))
            v = heads("v", torch.einsum("ibh,hnd->ibnd", h, module.v))
            places = torch.einsum("ibh,hnd->ibnd", r.type(module.r.dtype), module.r)
            scores = torch.einsum("ibnd,jbnd->bnij", q, k)
            there = torch.einsum("ibnd,jbnd->bnij", q - module.r_w_bias + module.r_r_bias, places)
            scores = scores + module.rel_shift_bnij(there, klen=scores.shape[3])
            pattern = torch.softmax(scores * module.scale, 3)
            pattern = self.at(point("pattern", self.layer), pattern[0].clone())[None]
            z = heads("z", torch.einsum("bnij,jbnd->ibnd", pattern, v))
            out = self.replaced("attn_out", torch.einsum("ibnd,hnd->ibh", z, module.o))
            return module.layer_norm(out + h), None

        module.forward = forward


def xlnet(model):
    def parts(layer):
        return {
            "resid_mid": layer.rel_attn.layer_norm,
            "pre": layer.ff.layer_1,
            "mlp_out": layer.ff.layer_2,
            "resid_post": layer.ff.layer_norm,
        }, {"post": layer.ff.layer_2}

    base = model.base_model
    hooks = hook(model, base, base.word_embedding, base.layer, parts, kind=XlnetHooks)
    for layer in base.layer:
        hooks.attend(layer.rel_attn)
    return hooks


def esm(model):
    def parts(layer):
        attention = layer.attention
        return {
            "q": attention.self.query,
            "k": attention.self.key,
            "v": attention.self.value,
            "attn_out": attention.output.dense,
            "resid_mid": attention,
            "pre": layer.intermediate.dense,
            "mlp_out": layer.output.dense,
            "resid_post": layer,
        }, {"z": attention.output.dense, "post": layer.output.dense}

    base = model.base_model
    return hook(model, base, base.embeddings, base.encoder.layer, parts, final_norm=base.encoder.emb_layer_norm_after)


def modernbert(model):
    base = model.base_model
    hooks = hook(
        model,
        base,
        base.embeddings,
        base.layers,
        lambda layer: (
            {"attn_out": layer.attn.Wo, "mlp_out": layer.mlp.Wo, "resid_post": layer},
            {"z": layer.attn.Wo, "resid_mid": layer.mlp_norm, "post": layer.mlp.Wo},
        ),
        final_norm=base.final_norm,
    )
    for layer in base.layers:
        for module, sites in [(layer.attn.Wqkv, ["q", "k", "v"]), (layer.mlp.Wi, ["pre", "pre_linear"])]:

            def split(_module, _inputs, output, sites=sites):
                parts = output.chunk(len(sites), -1)
                return torch.cat([hooks.replaced(site, part) for site, part in zip(sites, parts)], -1)

            module.register_forward_hook(split)
    return hooks


def config(kind, **fields):
    return lambda: getattr(transformers, f"{kind}Config")(**fields)


BERT_LIKE = dict(**SIZES, **PLAIN, max_position_embeddings=N_CTX, layer_norm_eps=1e-5, pad_token_id=0)
AFTER_PADDING = {**BERT_LIKE, "max_position_embeddings": N_CTX + 2, "pad_token_id": 1}
PRE_NORM = {**SIZES, "max_position_embeddings": N_CTX, "pad_token_id": 1}

# The class names' beginning, a config, the hooks.
FAMILIES = {
    "bert": ("Bert", config("Bert", **BERT_LIKE), like_bert),
    "roberta": ("Roberta", config("Roberta", **AFTER_PADDING, type_vocab_size=1), like_bert),
    "distilbert": (
        "DistilBert",
        config(
            "DistilBert", dim=32, n_layers=2, n_heads=4, hidden_dim=44, vocab_size=61, max_position_embeddings=N_CTX,
            dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0,
        ),
        distilbert,
    ),
    "electra": ("Electra", config("Electra", **BERT_LIKE, embedding_size=20), like_bert),
    "albert": (
        "Albert",
        config(
            "Albert", **{**BERT_LIKE, "num_hidden_layers": 3}, embedding_size=20, num_hidden_groups=2,
            classifier_dropout_prob=0.0, hidden_act="gelu_new",
        ),
        albert,
    ),
    "mpnet": ("MPNet", config("MPNet", **AFTER_PADDING), mpnet),
    "esm": (
        "Esm",
        config(
            "Esm", **PRE_NORM, **PLAIN, position_embedding_type="rotary", token_dropout=True, mask_token_id=2,
            emb_layer_norm_before=False, layer_norm_eps=1e-5, vocab_list=None,
        ),
        esm,
    ),
    "modernbert": (
        "ModernBert",
        config(
            "ModernBert", **{**PRE_NORM, "num_hidden_layers": 3, "intermediate_size": 42}, local_attention=8,
            global_attn_every_n_layers=3, norm_eps=1e-5, bos_token_id=3, eos_token_id=4, cls_token_id=3, sep_token_id=4,
        ),
        modernbert,
    ),
    "deberta-v2": (
        "DebertaV2",
        config(
            "DebertaV2", **BERT_LIKE, type_vocab_size=0, relative_attention=True, position_buckets=4,
            norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type=["p2c", "c2p"], position_biased_input=False,
            pooler_dropout=0.0, pooler_hidden_size=32,
        ),
        deberta,
    ),
    "xlnet": (
        "XLNet",
        config(
            "XLNet", d_model=32, n_layer=2, n_head=4, d_inner=44, vocab_size=61, layer_norm_eps=1e-5, clamp_len=9,
            dropout=0.0, summary_last_dropout=0.0,
        ),
        xlnet,
    ),
}

# Other options of a family; they have neither edits nor gradients.
VARIANTS = {
    "deberta-v2-apart": (
        "deberta-v2",
        dict(
            share_att_key=False, position_buckets=-1, max_relative_positions=6, norm_rel_ebd="none",
            position_biased_input=True, type_vocab_size=2, legacy=False,
        ),
    ),
}
LANGUAGE_MODELS = {"xlnet": "LMHeadModel"}  # others: ForMaskedLM
READS = {"xlnet": 2048}  # tokens, where no config says it; units of patterns are counted by it

HEADS = {"tokens": "ForTokenClassification", "sequence": "ForSequenceClassification"}
MORE_HEADS = {
    "bert": {"next-sentence": "ForNextSentencePrediction"},
    "electra": {"discriminator": "ForPreTraining"},
}


def build(family, head, **fields):
    name, config, _ = FAMILIES[family]
    config = config()
    for field, value in fields.items():
        setattr(config, field, value)
    return getattr(transformers, name + head)._from_config(config, attn_implementation="eager").eval()


def randomize(model, seed):
    """No weight keeps a value that hides an error: norms are not 1, biases are not 0, attention is not even."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if "norm" in name.lower():
            weight.data = 0.2 * noise if name.endswith("bias") else 1.0 + 0.3 * noise
        elif weight.dim() == 1:
            weight.data = 0.3 * noise
        elif "embedding" in name or "relative_attention_bias" in name:
            weight.data = 0.5 * noise
        elif weight.dim() == 3:  # [d_model, heads, width of a head]
            weight.data = 1.3 * noise / weight.shape[0] ** 0.5
        else:
            weight.data = 1.3 * noise / weight.shape[-1] ** 0.5
    model.tie_weights()


def sentences_of(model, seed, lengths):
    rng = np.random.default_rng(seed)
    return [rng.integers(FIRST_TOKEN, model.config.vocab_size, n).tolist() for n in lengths]


def in_64_bits(model, modeling):
    """The model in 64-bit floats, with rotary angles and rotations too."""
    model = model.double()
    for module in model.modules():
        if type(module).__name__.endswith("RotaryEmbedding"):

            def angles(x, position_ids, layer_type=None, config=model.config):
                width = config.hidden_size // config.num_attention_heads
                theta = config.rope_parameters[layer_type]["rope_theta"] if layer_type else config.rope_theta
                steps = theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
                turn = position_ids[..., None].double() * steps
                turn = torch.cat([turn, turn], -1)
                return turn.cos(), turn.sin()

            module.forward = angles
    if hasattr(modeling, "apply_rotary_pos_emb"):

        def turned(q, k, cos, sin, unsqueeze_dim=1):
            cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
            return q * cos + modeling.rotate_half(q) * sin, k * cos + modeling.rotate_half(k) * sin

        modeling.apply_rotary_pos_emb = turned
    return model


def modeling_of(model):
    return sys.modules[type(model).__module__]


def save(model, folder):
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def make(family, seed, variant=None, **fields):
    folder = HERE / (variant or family)
    torch.manual_seed(seed)
    shared.N_CTX = READS.get(family, N_CTX)
    model = build(family, LANGUAGE_MODELS.get(family, "ForMaskedLM"), **fields)
    randomize(model, seed)
    save(model, folder)
    sentences = sentences_of(model, seed, LENGTHS)
    if family == "esm":  # a masked token has no embedding, and the others have more
        sentences[0][3] = sentences[2][9] = sentences[2][11] = model.config.mask_token_id
    with torch.no_grad():
        plain = [model(input_ids=torch.tensor([tokens])).logits[0] for tokens in sentences]

    hooks = FAMILIES[family][2](model)
    modeling = modeling_of(model)
    if hasattr(modeling, "eager_attention_forward"):
        modeling.eager_attention_forward = hooks.attention
    sites_32, logits_32 = run(hooks, sentences)
    close(f"{family} hooked", logits_32, torch.cat(plain), 1e-5)
    in_64_bits(model, modeling)
    sites, logits = run(hooks, sentences)
    close(f"{family} logits", logits_32, logits, 2e-5)
    for name, want in sites.items():
        close(f"{family} {name}", sites_32[name], want, 1e-5)

    arrays = {"tokens": torch.tensor(sum(sentences, [])), "offsets": torch.tensor(np.cumsum([0, *LENGTHS]))}
    arrays |= {name: values.float() for name, values in sites.items()}
    arrays["logits"] = logits.float()
    if variant:
        save_file({name: values.contiguous() for name, values in arrays.items()}, folder / "expected.safetensors")
        return
    widths = {name: values.shape[-1] for name, values in sites.items()}
    edits, combined = edits_for(widths, sites[point("pattern", 0) + ".0"].shape[0])
    missing = {site_of(name) for name in sites} - {site_of(spec["point"]) for spec in edits}
    assert not missing, f"{family}: no edit at {missing}"
    for i, spec in enumerate(edits):
        arrays[f"edit.{i}"] = run(hooks, sentences, [spec])[1].float()
        change = (arrays[f"edit.{i}"] - arrays["logits"]).abs().max()
        assert change > 1e-3, f"{family}: edit {i} changes nothing: {spec}"
    sites, logits = run(hooks, sentences, combined)
    arrays["combined.logits"] = logits.float()
    for name in [point("post", 0), point("v", 1), point("resid_mid", 1), point("resid_post", 1)]:
        arrays[f"combined.{name}"] = sites[name].float()
    save_file({name: values.contiguous() for name, values in arrays.items()}, folder / "expected.safetensors")
    for name, specs in [("edits.json", edits), ("combined.json", combined)]:
        lines = ",\n".join(json.dumps(spec) for spec in specs)
        (folder / name).write_text(f"[\n{lines}\n]\n")
    make_gradients(folder, hooks, seed)


def make_gradients(folder, hooks, seed):
    lengths = gradients.LENGTHS
    sentences = sentences_of(hooks.model, seed + 1, lengths)
    arrays = {"tokens": torch.tensor(sum(sentences, [])), "offsets": torch.tensor(np.cumsum([0, *lengths]))}
    wanted = gradients.objectives(causal=False)
    names = [point(site, layer) for site, layer in WRT]
    for i, objective in enumerate(wanted):
        probes, values = {}, []
        for idx, tokens in enumerate(sentences):

            def at(name, value):
                if name not in names:
                    return value
                probes[f"{name}.{idx}"] = torch.zeros_like(value, requires_grad=True)
                return value + probes[f"{name}.{idx}"]

            hooks.at = at
            logits = hooks.model(input_ids=torch.tensor([tokens])).logits[0]
            values.append(gradients.value(objective, logits, tokens))
        arrays[f"{i}.values"] = torch.stack(values).detach().float()
        found = gradients.joined(gradients.gradients(sum(values), probes))
        arrays |= {f"{i}.{name}": g.detach().float() for name, g in found.items()}
    save_file({name: a.contiguous() for name, a in arrays.items()}, folder / "gradients.safetensors")
    lines = ",\n".join(json.dumps(objective) for objective in wanted)
    (folder / "gradients.json").write_text(f"[\n{lines}\n]\n")


def make_heads(family, seed):
    for head, kind in {**HEADS, **MORE_HEADS.get(family, {})}.items():
        fields = {"n_layers" if family == "distilbert" else "num_hidden_layers": 1}
        if family == "modernbert":
            fields["layer_types"] = ["full_attention"]
        if family == "albert":
            fields["num_hidden_groups"] = 1
        if head in HEADS:
            fields["num_labels"] = 3
        model = build(family, kind, **fields)
        randomize(model, seed)
        folder = HERE / "heads" / f"{family}-{head}"
        folder.mkdir(parents=True, exist_ok=True)
        save(model, folder)
        lengths = [6, 1]
        sentences = sentences_of(model, seed, lengths)
        in_64_bits(model, modeling_of(model))
        with torch.no_grad():
            logits = [model(input_ids=torch.tensor([tokens])).logits for tokens in sentences]
        logits = torch.cat([part[0] if part.dim() == 3 else part if part.shape[0] == 1 and head != "discriminator"
                            else part[0, :, None] for part in logits])
        arrays = {"tokens": torch.tensor(sum(sentences, [])), "offsets": torch.tensor(np.cumsum([0, *lengths]))}
        save_file({**arrays, "logits": logits.float().contiguous()}, folder / "expected.safetensors")


if __name__ == "__main__":
    for number, name in enumerate(FAMILIES):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        if name != "bert":  # its model is make.py's
            make(name, 111 + number)
        make_heads(name, 131 + number)
    for number, (name, (family, fields)) in enumerate(VARIANTS.items()):
        if not sys.argv[1:] or name in sys.argv[1:]:
            make(family, 151 + number, name, **fields)
