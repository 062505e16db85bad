"""Makes the golden models of RWKV 5 and Mamba: small random ones, and what a loop in 64-bit floats computes.

    python make_state_space.py      # writes rwkv5*/ and mamba/ beside this file

Made with python 3, torch 2.15.0, transformers 5.23.0, safetensors 0.8.0, numpy 2.4.6. The files are as those of make.py,
whose `apply` makes the edits, with greedy.json as of make_decoders.py; gradients.json and gradients.safetensors as
gradients.py writes them, but of some sites and of no parameters. rwkv5-original is the model of rwkv5 under its authors'
names, without config.json; it has neither edits nor gradients.

The loops are written out, a token at a time. That of Mamba is checked against transformers, in 32 bits; RWKV 5 is in no
package: its loop is that of the paper (arXiv 2404.05892, equations 11 to 17, with the decays of 5.2).

Short steps and a large divisor before the norm of heads keep small what is rounded, on both sides alike. The largest error
of a logit against 64-bit floats, as a share of the largest logit, of three seeds each, of the reference and of nissl in 32
bits: Mamba with steps around 0.7 in place of 0.08 4.6e-6 and 2.1e-6 (here 1.9e-6 and 1.7e-6); RWKV with a divisor of 1 in
place of 100 5.5e-6 and 6.6e-6 (here 4.2e-7 and 3.6e-7), of 8, as that of published models, 6.7e-7 and 7.4e-7.
"""

import json
import pathlib

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

import gradients
from make import LENGTHS, apply, close

HERE = pathlib.Path(__file__).parent
V, LAYERS = 71, 2
F = torch.nn.functional
KEPT = ["hook_embed", "mixer.hook_r", "mixer.hook_v", "mixer.hook_conv", "mixer.hook_dt", "hook_resid_post"]
KEPT += ["mixer.hook_decay", "mixer.hook_rate"]


def shifted(x):
    return torch.cat([torch.zeros_like(x[:1]), x[:-1]])


class Rwkv5:
    """Names as in Hugging Face's folders."""

    d, heads, width, d_mlp, divisor = 24, 3, 8, 40, 100.0
    config = {
        "model_type": "rwkv5",
        "vocab_size": V,
        "hidden_size": d,
        "attention_hidden_size": d,
        "head_size": width,
        "head_size_divisor": 100,
        "intermediate_size": d_mlp,
        "num_hidden_layers": LAYERS,
        "layer_norm_epsilon": 1e-4,
        "context_length": 64,
        "rescale_every": 6,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }

    def __init__(self):
        d, hidden = self.d, self.d_mlp
        self.tensors = t = {"rwkv.embeddings.weight": torch.randn(V, d), "head.weight": torch.randn(V, d) * 0.4}

        def norm(name):
            t[f"{name}.weight"], t[f"{name}.bias"] = 1 + 0.3 * torch.randn(d), 0.2 * torch.randn(d)

        def matrix(name, n_out, n_in):
            t[f"{name}.weight"] = 0.9 * torch.randn(n_out, n_in) / n_in**0.5

        norm("rwkv.blocks.0.pre_ln")
        norm("rwkv.ln_out")
        for layer in range(LAYERS):
            block = f"rwkv.blocks.{layer}"
            norm(f"{block}.ln1")
            norm(f"{block}.ln2")
            norm(f"{block}.attention.ln_x")
            for part in ["receptance", "key", "value", "gate"]:
                matrix(f"{block}.attention.{part}", d, d)
                t[f"{block}.attention.time_mix_{part}"] = torch.rand(1, 1, d)
            matrix(f"{block}.attention.output", d, d)
            t[f"{block}.attention.time_decay"] = torch.randn(self.heads, self.width) - 1
            t[f"{block}.attention.time_faaaa"] = torch.randn(self.heads, self.width)
            matrix(f"{block}.feed_forward.key", hidden, d)
            matrix(f"{block}.feed_forward.value", d, hidden)
            matrix(f"{block}.feed_forward.receptance", d, d)
            for part in ["receptance", "key"]:
                t[f"{block}.feed_forward.time_mix_{part}"] = torch.rand(1, 1, d)

    def norm(self, x, name):
        return F.layer_norm(x, (self.d,), self.t[f"{name}.weight"], self.t[f"{name}.bias"], 1e-4)

    def blend(self, x, name):
        share = self.t[name][0, 0]
        return x * share + shifted(x) * (1 - share)

    def forward(self, tokens, at):
        t, (heads, width) = self.t, (self.heads, self.width)
        x = at("hook_embed", self.norm(t["rwkv.embeddings.weight"][tokens], "rwkv.blocks.0.pre_ln"))
        for layer in range(LAYERS):
            block, here = f"rwkv.blocks.{layer}", lambda site, values: at(f"blocks.{layer}.{site}", values)
            x = here("hook_resid_pre", x)
            y = self.norm(x, f"{block}.ln1")
            name = f"{block}.attention"
            product = lambda part: self.blend(y, f"{name}.time_mix_{part}") @ t[f"{name}.{part}.weight"].T
            r = here("mixer.hook_r", product("receptance")).view(-1, heads, width)
            k = here("mixer.hook_k", product("key")).view(-1, heads, width)
            v = here("mixer.hook_v", product("value")).view(-1, heads, width)
            gate = here("mixer.hook_gate", product("gate"))
            decay = torch.exp(-torch.exp(t[f"{name}.time_decay"]))[:, :, None]
            bonus = t[f"{name}.time_faaaa"][:, :, None]
            state, read = torch.zeros(heads, width, width, dtype=x.dtype), []
            for i in range(len(x)):
                new = k[i][:, :, None] * v[i][:, None, :]
                read.append((r[i][:, :, None] * (state + bonus * new)).sum(1).flatten())
                state = decay * state + new
            y = here("mixer.hook_y", torch.stack(read))
            gain, bias = t[f"{name}.ln_x.weight"], t[f"{name}.ln_x.bias"]
            z = here("mixer.hook_z", F.group_norm(y / self.divisor, heads, gain, bias, 1e-5) * F.silu(gate))
            x = here("hook_resid_mid", x + here("hook_mixer_out", z @ t[f"{name}.output.weight"].T))
            y = self.norm(x, f"{block}.ln2")
            name = f"{block}.feed_forward"
            product = lambda part: self.blend(y, f"{name}.time_mix_{part}") @ t[f"{name}.{part}.weight"].T
            pre = here("mlp.hook_pre", product("key"))
            post = here("mlp.hook_post", torch.relu(pre) ** 2)
            out = torch.sigmoid(product("receptance")) * (post @ t[f"{name}.value.weight"].T)
            x = here("hook_resid_post", x + here("hook_mlp_out", out))
        x = at("ln_final.hook_normalized", self.norm(x, "rwkv.ln_out"))
        return x @ t["head.weight"].T

    def check(self, *_):
        pass

    def original(self):
        """The tensors under the authors' names, as rwkv.cpp stores them; without what only a config could say."""
        names = {"rwkv.": "", "embeddings.": "emb.", "pre_ln": "ln0", "attention": "att", "feed_forward": "ffn"}
        names |= {f"mix_{part}": f"mix_{part[0]}" for part in ["receptance", "key", "value", "gate"]}
        tensors = {}
        for name, values in self.tensors.items():
            for old, new in names.items():
                name = name.replace(old, new)
            if name.endswith("time_decay"):
                values = torch.exp(-torch.exp(values))
            tensors[name] = values[..., None] if values.shape == (self.heads, self.width) else values.squeeze()
        return tensors


class Mamba:
    """Names as in transformers."""

    d, width, states, rank, taps = 20, 40, 5, 3, 4

    def __init__(self):
        self.reference = transformers.MambaForCausalLM(
            transformers.MambaConfig(
                vocab_size=V,
                hidden_size=self.d,
                state_size=self.states,
                num_hidden_layers=LAYERS,
                time_step_rank=self.rank,
                use_bias=True,
                hidden_act="silu",
                pad_token_id=0,
                bos_token_id=0,
                eos_token_id=0,
            )
        ).eval()
        for name, weight in self.reference.named_parameters():
            noise = torch.randn_like(weight)
            if "norm" in name or name.endswith(".D"):
                weight.data = 1 + 0.3 * noise
            elif name.endswith("A_log"):
                weight.data = 0.5 * noise
            elif name.endswith("dt_proj.bias"):
                weight.data = 0.5 * noise - 2.5  # steps are short, as those of real models
            elif weight.dim() == 1 or "embed" in name:
                weight.data = 0.5 * noise
            else:
                weight.data = 1.3 * noise / weight.shape[-1] ** 0.5
        self.reference.tie_weights()
        self.config = json.loads(self.reference.config.to_json_string())
        self.tensors = {k: v for k, v in self.reference.state_dict().items() if k != "lm_head.weight"}

    def norm(self, x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.t[f"{name}.weight"]

    def forward(self, tokens, at):
        t, width, states = self.t, self.width, self.states
        x = at("hook_embed", t["backbone.embeddings.weight"][tokens])
        for layer in range(LAYERS):
            block, here = f"backbone.layers.{layer}", lambda site, values: at(f"blocks.{layer}.{site}", values)
            get = lambda name: t[f"{block}.mixer.{name}"]
            x = here("hook_resid_pre", x)
            both = self.norm(x, f"{block}.norm") @ get("in_proj.weight").T + get("in_proj.bias")
            own = here("mixer.hook_in", both[:, :width])
            conv = F.pad(own.T[None], (self.taps - 1, 0))
            conv = F.conv1d(conv, get("conv1d.weight"), get("conv1d.bias"), groups=width)[0].T
            conv = here("mixer.hook_conv", F.silu(conv))
            low, b, c = (conv @ get("x_proj.weight").T).split([self.rank, states, states], -1)
            dt = here("mixer.hook_dt", F.softplus(low @ get("dt_proj.weight").T + get("dt_proj.bias")))
            gate = here("mixer.hook_gate", both[:, width:])
            rates, state, read = -torch.exp(get("A_log")), torch.zeros(width, states, dtype=x.dtype), []
            for i in range(len(x)):
                state = torch.exp(dt[i][:, None] * rates) * state + (dt[i] * conv[i])[:, None] * b[i]
                read.append(state @ c[i] + get("D") * conv[i])
            y = here("mixer.hook_y", torch.stack(read))
            z = here("mixer.hook_z", y * F.silu(gate))
            out = here("hook_mixer_out", z @ get("out_proj.weight").T + get("out_proj.bias"))
            x = here("hook_resid_post", x + out)
        return at("ln_final.hook_normalized", self.norm(x, "backbone.norm_f")) @ t["backbone.embeddings.weight"].T

    def check(self, tokens, logits):
        with torch.no_grad():
            close("transformers", self.reference(torch.tensor([tokens])).logits[0], logits, 1e-5)


def run(model, sentences, edits=()):
    """Every site's values of every sentence, and the logits, each sentence alone."""
    sites, logits, first_row = {}, [], 0
    for tokens in sentences:

        def at(name, values):
            for spec in edits:
                if spec["point"] == name:
                    values = apply(spec, values.clone(), first_row)
            sites.setdefault(name, []).append(values)
            return values

        with torch.no_grad():
            logits.append(model.forward(tokens, at))
        first_row += len(tokens)
    return {name: torch.cat(values) for name, values in sites.items()}, torch.cat(logits)


class Differentiated:
    """What gradients.py takes gradients of."""

    causal, n_logits = True, V

    def __init__(self, model):
        self.model = model

    def parameters(self):
        return None

    def run(self, sentences):
        probes, logits = {}, []
        for idx, tokens in enumerate(sentences):

            def at(name, values):
                if not any(name.endswith(site) for site in KEPT):
                    return values
                probe = torch.zeros_like(values, requires_grad=True)
                probes[f"{name}.{idx}"] = probe
                return values + probe

            logits.append(self.model.forward(tokens, at))
        return logits, probes


def edits_for(widths):
    """Every site, every kind of edit and every way to choose positions."""
    rng = np.random.default_rng(5)
    values = lambda n: [round(float(v), 3) for v in rng.normal(0, 1, n)]
    kinds = [
        lambda w: ({"some": [1, w - 2]}, "all", {"add": {"values": values(2)}}),
        lambda w: ("all", {"in_sentence": [0, -2]}, {"scale": {"factor": -1.5}}),
        lambda w: ({"some": [0, 3]}, {"rows": [2, 9]}, {"patch": {"values": values(4)}}),
        lambda w: ({"some": [w - 1, 2]}, "all", "zero"),
        lambda w: ("all", {"in_sentence": [-1, 1]}, {"mean": {"values": values(w)}}),
        lambda w: ({"some": [5]}, {"rows": [0, 8, 20]}, {"set": {"value": 1.5}}),
    ]
    spec = lambda name, kind: dict(zip(["point", "units", "positions", "edit"], (name, *kind(widths[name]))))
    # Not the first of a sentence alone: then what came before shows too.
    edits = [spec(name, kinds[idx % len(kinds)]) for idx, name in enumerate(widths)]
    last = f"blocks.{LAYERS - 1}.hook_resid_post"
    mixed = next(f"blocks.0.{site}" for site in KEPT if f"blocks.0.{site}" in widths)
    combined = [spec(mixed, kinds[0]), spec(mixed, kinds[1]), spec("blocks.1.mixer.hook_z", kinds[3]), spec(last, kinds[4])]
    return edits, combined


def greedy(model):
    texts = []
    for prompt in [[5, 9, 2, 33, 7], [11], [30, 3, 3, 17, 20, 28, 31, 8, 4]]:
        text = list(prompt)
        for _ in range(14):
            with torch.no_grad():
                text.append(model.forward(text, lambda _, values: values)[-1].argmax().item())
        texts.append({"prompt": prompt, "tokens": text[len(prompt) :]})
    return texts


def make(name, model, seed):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.config, indent=2) + "\n")
    model.t = {k: v.double() for k, v in model.tensors.items()}
    rng = np.random.default_rng(seed)
    sentences = [rng.integers(0, V, n).tolist() for n in LENGTHS]
    sites, logits = run(model, sentences)
    for tokens, part in zip(sentences, logits.split(LENGTHS)):
        model.check(tokens, part)
    arrays = {"tokens": torch.tensor(sum(sentences, [])), "offsets": torch.tensor(np.cumsum([0, *LENGTHS]))}
    arrays |= {site: values.float() for site, values in sites.items()}
    arrays["logits"] = logits.float()
    edits, combined = edits_for({site: values.shape[1] for site, values in sites.items()})
    for i, spec in enumerate(edits):
        arrays[f"edit.{i}"] = run(model, sentences, [spec])[1].float()
        change = (arrays[f"edit.{i}"] - arrays["logits"]).abs().max()
        assert change > 1e-3, f"{name}: edit {i} changes nothing: {spec}"
    sites, logits = run(model, sentences, combined)
    arrays["combined.logits"] = logits.float()
    for site in list(sites):
        if site.endswith(("hook_z", "resid_post")):
            arrays[f"combined.{site}"] = sites[site].float()
    save_file({k: v.contiguous() for k, v in arrays.items()}, folder / "expected.safetensors")
    for file, lines in {"edits": edits, "combined": combined, "greedy": greedy(model)}.items():
        lines = ",\n".join(json.dumps(line) for line in lines)
        (folder / f"{file}.json").write_text(f"[\n{lines}\n]\n")
    gradients.make(name, Differentiated(model), seed)


if __name__ == "__main__":
    torch.manual_seed(71)
    model = Rwkv5()
    make("rwkv5", model, 71)
    # Its head norms have another epsilon, for want of a config.
    model.divisor, folder = 1.0, HERE / "rwkv5-original"
    model.norm = lambda x, name: F.layer_norm(x, (model.d,), model.t[f"{name}.weight"], model.t[f"{name}.bias"], 1e-5)
    folder.mkdir(exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.original().items()}, folder / "model.safetensors")
    rng = np.random.default_rng(72)
    sentences = [rng.integers(0, V, n).tolist() for n in LENGTHS]
    sites, logits = run(model, sentences)
    arrays = {"tokens": torch.tensor(sum(sentences, [])), "offsets": torch.tensor(np.cumsum([0, *LENGTHS]))}
    arrays |= {site: values.float() for site, values in sites.items()} | {"logits": logits.float()}
    save_file({k: v.contiguous() for k, v in arrays.items()}, folder / "expected.safetensors")
    torch.manual_seed(73)
    make("mamba", Mamba(), 73)
