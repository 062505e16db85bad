"""Makes the golden lenses: what torch computes from the weights of the golden models beside this file.

    python make_lens.py            # writes bert/lens.safetensors, gpt2/..., llama/...; run make.py first

Made with python 3, torch 2.15.0, transformers 5.23.0, safetensors 0.8.0, numpy 2.4.6.

lens.safetensors, all in 64-bit floats on the 32-bit weights, rounded to 32 bits:
    lens.<hook point> [ROWS, vocabulary]     final norm and head on the first rows of that site in expected.safetensors
    effect.<neuron>, effect_raw.<neuron>     [vocabulary] what the neuron writes, through the unembedding
    drive.<neuron>, drive_raw.<neuron>       [vocabulary] the token embeddings, times what the neuron reads
    joint.<neuron>.<hook point>, joint_raw.  [width] what the neuron reads, times what every unit of the site writes

"raw" is without the norms on the way. With them, each norm is replaced by its linear part, without its bias: the mean is
taken off (layer norms), the columns are multiplied with the gain. BERT's head is not linear: the direction, brought to
the length of the last norm's gain, goes through the whole head, less what zeros give.
"""

import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers import BertForMaskedLM, GPT2LMHeadModel, LlamaForCausalLM

HERE = pathlib.Path(__file__).parent
ROWS = 9


def layer_norm(norm):
    return lambda x: (x - x.mean(-1, keepdim=True)) * norm.weight


def rms_norm(norm):
    return lambda x: x * norm.weight


class Gpt2:
    def __init__(self, folder):
        self.model = GPT2LMHeadModel.from_pretrained(folder).double()
        self.body = self.model.transformer
        self.embedding, self.unembedding = self.body.wte.weight, self.model.lm_head.weight
        self.final = self.body.ln_f

    def head(self, x):
        return self.model.lm_head(self.final(x))

    def effect(self, x, layer):
        return self.unembedding @ layer_norm(self.final)(x)

    def matrices(self, layer):
        """What reads [n, d_model] and what writes [n, d_model] in a block, with the norm before the reader."""
        block = self.body.h[layer]
        q, k, v = block.attn.c_attn.weight.T.chunk(3)
        attn, mlp = layer_norm(block.ln_1), layer_norm(block.ln_2)
        reads = {"attn.hook_q": (q, attn), "attn.hook_k": (k, attn), "attn.hook_v": (v, attn), "attn.hook_z": (v, attn)}
        reads |= {"mlp.hook_pre": (block.mlp.c_fc.weight.T, mlp), "mlp.hook_post": (block.mlp.c_fc.weight.T, mlp)}
        writes = {"attn.hook_z": block.attn.c_proj.weight, "mlp.hook_post": block.mlp.c_proj.weight}
        return reads, writes

    def before(self, layer, site, source):
        """The linear parts of the norms between a source (a layer and site, or None: the embeddings) and a reader."""
        return [self.matrices(layer)[0][site][1]]


class Llama(Gpt2):
    def __init__(self, folder):
        self.model = LlamaForCausalLM.from_pretrained(folder).double()
        self.body = self.model.model
        self.embedding, self.unembedding = self.body.embed_tokens.weight, self.model.lm_head.weight

    def head(self, x):
        norm = self.body.norm
        x = norm.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon))
        return self.model.lm_head(x)

    def effect(self, x, layer):
        return self.unembedding @ rms_norm(self.body.norm)(x)

    def matrices(self, layer):
        block, config = self.body.layers[layer], self.model.config
        attn, mlp = rms_norm(block.input_layernorm), rms_norm(block.post_attention_layernorm)
        heads = block.self_attn
        v = heads.v_proj.weight
        # A head of z averages the values of its group.
        z = v.view(config.num_key_value_heads, -1, config.hidden_size)
        z = z.repeat_interleave(config.num_attention_heads // config.num_key_value_heads, 0).flatten(0, 1)
        reads = {"attn.hook_q": (heads.q_proj.weight, attn), "attn.hook_k": (heads.k_proj.weight, attn)}
        reads |= {"attn.hook_v": (v, attn), "attn.hook_z": (z, attn)}
        reads |= {"mlp.hook_pre": (block.mlp.gate_proj.weight, mlp), "mlp.hook_post": (block.mlp.gate_proj.weight, mlp)}
        reads |= {"mlp.hook_pre_linear": (block.mlp.up_proj.weight, mlp)}
        writes = {"attn.hook_z": heads.o_proj.weight.T, "mlp.hook_post": block.mlp.down_proj.weight.T}
        return reads, writes


class Bert:
    def __init__(self, folder):
        self.model = BertForMaskedLM.from_pretrained(folder).double()
        self.body = self.model.bert
        self.embedding = self.body.embeddings.word_embeddings.weight
        self.unembedding = self.model.cls.predictions.decoder.weight
        self.layers = self.body.encoder.layer

    def head(self, x):
        return self.model.cls(x)

    def norms(self):
        """Every norm of the stream: its place as (layer, 0: after attention, 1: after the MLP)."""
        yield (-1, 1), self.body.embeddings.LayerNorm
        for i, layer in enumerate(self.layers):
            yield (i, 0), layer.attention.output.LayerNorm
            yield (i, 1), layer.output.LayerNorm

    def between(self, source, until):
        start = (-1, 1) if source is None else (source[0], 0 if source[1] == "attn.hook_z" else 1)
        return [layer_norm(norm) for place, norm in self.norms() if start <= place < until]

    def effect(self, x, layer, site="mlp.hook_post"):
        for norm in self.between((layer, site), (len(self.layers), 0)):
            x = norm(x)
        x = x / x.norm() * self.layers[-1].output.LayerNorm.weight.norm()
        return self.head(x) - self.head(torch.zeros_like(x))

    def matrices(self, layer):
        block = self.layers[layer]
        own = block.attention.self
        reads = {"attn.hook_q": (own.query.weight, 0), "attn.hook_k": (own.key.weight, 0)}
        reads |= {"attn.hook_v": (own.value.weight, 0), "attn.hook_z": (own.value.weight, 0)}
        inner = block.intermediate.dense.weight
        reads |= {"mlp.hook_pre": (inner, 1), "mlp.hook_post": (inner, 1)}
        writes = {"attn.hook_z": block.attention.output.dense.weight.T, "mlp.hook_post": block.output.dense.weight.T}
        return reads, writes

    def before(self, layer, site, source):
        return self.between(source, (layer, 1 if site.startswith("mlp") else 0))


def make(family, build):
    folder = HERE / family
    lens, expected = build(folder), load_file(folder / "expected.safetensors")
    out = {}
    n_layers = lens.model.config.num_hidden_layers
    points = ["hook_embed"] + [f"blocks.{i}.hook_resid_{at}" for i in range(n_layers) for at in ("mid", "post")]
    for point in points:
        out[f"lens.{point}"] = lens.head(expected[point][:ROWS].double())
    for layer in range(n_layers):
        reads, writes = lens.matrices(layer)
        for site, (rows, _) in reads.items():
            unit = 3 + layer
            name = f"blocks.{layer}.{site}[{unit}]"
            out[f"drive_raw.{name}"] = lens.embedding @ rows[unit]
            x = lens.embedding
            for norm in lens.before(layer, site, None):
                x = norm(x)
            out[f"drive.{name}"] = x @ rows[unit]
            for source_layer in range(layer + 1):
                for source, columns in lens.matrices(source_layer)[1].items():
                    if source_layer == layer and not (source == "attn.hook_z" and site.startswith("mlp")):
                        continue
                    from_point = f"blocks.{source_layer}.{source}"
                    out[f"joint_raw.{name}.{from_point}"] = columns @ rows[unit]
                    x = columns
                    for norm in lens.before(layer, site, (source_layer, source)):
                        x = norm(x)
                    out[f"joint.{name}.{from_point}"] = x @ rows[unit]
        for site, columns in writes.items():
            name = f"blocks.{layer}.{site}[{5 + layer}]"
            column = columns[5 + layer]
            out[f"effect_raw.{name}"] = lens.unembedding @ column
            is_bert = isinstance(lens, Bert)
            out[f"effect.{name}"] = lens.effect(column, layer, site) if is_bert else lens.effect(column, layer)
    save_file({name: values.detach().float().contiguous().clone() for name, values in out.items()}, folder / "lens.safetensors")


if __name__ == "__main__":
    for family, build in [("bert", Bert), ("gpt2", Gpt2), ("llama", Llama)]:
        make(family, build)
