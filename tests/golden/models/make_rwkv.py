"""Makes the golden models of RWKV 6 and 7: small random ones, and what a loop in 64-bit floats computes.

    python make_rwkv.py      # writes rwkv6*/ and rwkv7*/ beside this file

Made with python 3, torch 2.15.0, safetensors 0.8.0, numpy 2.4.6. The files are as those of make_state_space.py. What ends
in -original is the same model under its authors' names, without config.json; it has neither edits nor gradients.

Neither is in transformers: the loops are written out, a token at a time, from the papers (arXiv 2404.05892, section 4;
arXiv 2503.14456, section 4). The same equations on the published files tiny-rwkv-7v0-834K and 6v0-3m give the logits that
rwkv.cpp publishes with them.
"""

import numpy as np
import torch
from safetensors.torch import save_file

import make_state_space
from make import LENGTHS
from make_state_space import HERE, LAYERS, F, V, run, shifted


class Rwkv:
    d, heads, width, d_mlp = 24, 3, 8, 40
    eps, head_eps = 1e-4, 8e-2

    def norms(self, *names):
        for name in names:
            self.tensors[f"{name}.weight"] = 1 + 0.3 * torch.randn(self.d)
            self.tensors[f"{name}.bias"] = 0.2 * torch.randn(self.d)

    def matrices(self, part, **sizes):
        for name, (n_out, n_in) in sizes.items():
            self.tensors[f"{part}.{name}.weight"] = 0.9 * torch.randn(n_out, n_in) / n_in**0.5

    def norm(self, x, name):
        return F.layer_norm(x, (self.d,), self.t[f"{name}.weight"], self.t[f"{name}.bias"], self.eps)

    def heads_of(self, *parts):
        return [part.view(-1, self.heads, self.width) for part in parts]

    def read(self, y, name):
        """What is read from the state [T, H, D], normed."""
        gain, bias = self.t[f"{name}.weight"], self.t[f"{name}.bias"]
        return F.group_norm(y, self.heads, gain, bias, self.head_eps)

    def check(self, *_):
        pass

    def original(self):
        """The tensors under the authors' names."""
        tensors = {}
        for name, values in self.tensors.items():
            values = values.T if "lora" in name and values.dim() == 2 else values
            for old, new in self.authors.items():
                name = name.replace(old, new)
            tensors[name] = values
        return tensors


class Rwkv6(Rwkv):
    """Names as in Hugging Face's folders."""

    rank, slow = 4, 5
    authors = {"rwkv.": "", "embeddings.": "emb.", "pre_ln": "ln0", "attention": "att", "feed_forward": "ffn"}
    config = {
        "model_type": "rwkv6",
        "vocab_size": V,
        "hidden_size": 24,
        "attention_hidden_size": 24,
        "num_attention_heads": 8,
        "head_size": 8,
        "head_size_divisor": 100,
        "intermediate_size": 40,
        "num_hidden_layers": LAYERS,
        "layer_norm_epsilon": 1e-4,
        "rescale_every": 6,
        "tie_word_embeddings": False,
    }
    head_eps = 1e-5 * 100**2

    def __init__(self):
        d = self.d
        self.tensors = t = {"rwkv.embeddings.weight": torch.randn(V, d), "head.weight": torch.randn(V, d) * 0.4}
        self.norms("rwkv.blocks.0.pre_ln", "rwkv.ln_out")
        for layer in range(LAYERS):
            time, channel = (f"rwkv.blocks.{layer}.{part}" for part in ["attention", "feed_forward"])
            self.norms(f"rwkv.blocks.{layer}.ln1", f"rwkv.blocks.{layer}.ln2", f"{time}.ln_x")
            self.matrices(time, **dict.fromkeys(["receptance", "key", "value", "gate", "output"], (d, d)))
            self.matrices(channel, key=(self.d_mlp, d), value=(d, self.d_mlp), receptance=(d, d))
            for part in "xwkvrg":
                t[f"{time}.time_maa_{part}"] = torch.rand(1, 1, d)
            t[f"{time}.time_maa_w1"] = torch.randn(d, 5 * self.rank) / d**0.5
            t[f"{time}.time_maa_w2"] = 0.3 * torch.randn(5, self.rank, d)
            t[f"{time}.time_decay"] = torch.randn(1, 1, d) - 1
            t[f"{time}.time_decay_w1"] = torch.randn(d, self.slow) / d**0.5
            t[f"{time}.time_decay_w2"] = 0.5 * torch.randn(self.slow, d)
            t[f"{time}.time_faaaa"] = torch.randn(self.heads, self.width)
            for part in "kr":
                t[f"{channel}.time_maa_{part}"] = torch.rand(1, 1, d)

    def forward(self, tokens, at):
        t = self.t
        x = at("hook_embed", self.norm(t["rwkv.embeddings.weight"][tokens], "rwkv.blocks.0.pre_ln"))
        for layer in range(LAYERS):
            block, here = f"rwkv.blocks.{layer}", lambda site, values: at(f"blocks.{layer}.{site}", values)
            get = lambda name: t[f"{block}.attention.{name}"]
            x = here("hook_resid_pre", x)
            y = self.norm(x, f"{block}.ln1")
            before = shifted(y) - y
            low = torch.tanh((y + before * get("time_maa_x")[0]) @ get("time_maa_w1")).view(-1, 5, self.rank)
            blends = {
                part: y + before * (get(f"time_maa_{part}")[0] + low[:, idx] @ get("time_maa_w2")[idx])
                for idx, part in enumerate("wkvrg")
            }
            r = here("mixer.hook_r", blends["r"] @ get("receptance.weight").T)
            slow = get("time_decay")[0] + torch.tanh(blends["w"] @ get("time_decay_w1")) @ get("time_decay_w2")
            decay = here("mixer.hook_decay", torch.exp(-torch.exp(slow)))
            k = here("mixer.hook_k", blends["k"] @ get("key.weight").T)
            v = here("mixer.hook_v", blends["v"] @ get("value.weight").T)
            gate = here("mixer.hook_gate", blends["g"] @ get("gate.weight").T)
            r, decay, k, v = self.heads_of(r, decay, k, v)
            state, read = torch.zeros(self.heads, self.width, self.width, dtype=x.dtype), []
            for i in range(len(x)):
                new = k[i][:, :, None] * v[i][:, None, :]
                read.append((r[i][:, :, None] * (state + get("time_faaaa")[:, :, None] * new)).sum(1).flatten())
                state = decay[i][:, :, None] * state + new
            y = here("mixer.hook_y", torch.stack(read))
            z = here("mixer.hook_z", self.read(y, f"{block}.attention.ln_x") * F.silu(gate))
            x = here("hook_resid_mid", x + here("hook_mixer_out", z @ get("output.weight").T))
            y = self.norm(x, f"{block}.ln2")
            before = shifted(y) - y
            get = lambda name: t[f"{block}.feed_forward.{name}"]
            pre = here("mlp.hook_pre", (y + before * get("time_maa_k")[0]) @ get("key.weight").T)
            post = here("mlp.hook_post", torch.relu(pre) ** 2)
            gate = torch.sigmoid((y + before * get("time_maa_r")[0]) @ get("receptance.weight").T)
            x = here("hook_resid_post", x + here("hook_mlp_out", gate * (post @ get("value.weight").T)))
        return at("ln_final.hook_normalized", self.norm(x, "rwkv.ln_out")) @ t["head.weight"].T


class Rwkv7(Rwkv):
    """Names as in the folders of flash-linear-attention."""

    ranks = {"w": 5, "a": 4, "v": 3, "g": 6}
    authors = {"model.embeddings": "emb", "lm_head": "head", "model.layers": "blocks", "model.norm": "ln_out"}
    authors |= {"attn_norm": "ln1", "ffn_norm": "ln2", "pre_norm": "ln0", "g_norm": "ln_x", ".attn.": ".att."}
    authors |= {"r_proj": "receptance", "k_proj": "key", "v_proj": "value", "o_proj": "output"}
    authors |= {f"{part}_lora.lora.{n}": f"{part}{m}" for part in ranks for n, m in [("0.weight", 1), ("2.weight", 2), ("2.bias", 0)]}
    config = {
        "model_type": "rwkv7",
        "attn": None,
        "attn_mode": "chunk",
        "vocab_size": V,
        "hidden_size": 24,
        "hidden_ratio": 4.0,
        "hidden_act": "sqrelu",
        "intermediate_size": 40,
        "num_hidden_layers": LAYERS,
        "head_dim": 8,
        "num_heads": None,
        "value_dim": [24] * LAYERS,
        "decay_low_rank_dim": 5,
        "gate_low_rank_dim": 6,
        "a_low_rank_dim": 4,
        "v_low_rank_dim": 3,
        "max_position_embeddings": 64,
        "norm_first": True,
        "norm_bias": True,
        "norm_eps": 1e-2,
        "fuse_norm": False,
        "tie_word_embeddings": False,
    }
    eps, head_eps = 1e-2, 8e-2

    def __init__(self):
        d = self.d
        self.tensors = t = {"model.embeddings.weight": torch.randn(V, d), "lm_head.weight": torch.randn(V, d) * 0.4}
        self.norms("model.layers.0.pre_norm", "model.norm")
        for layer in range(LAYERS):
            block = f"model.layers.{layer}"
            self.norms(f"{block}.attn_norm", f"{block}.ffn_norm", f"{block}.attn.g_norm")
            self.matrices(f"{block}.attn", **dict.fromkeys(["r_proj", "k_proj", "v_proj", "o_proj"], (d, d)))
            self.matrices(f"{block}.ffn", key=(self.d_mlp, d), value=(d, self.d_mlp))
            for part in "rwkvag":
                t[f"{block}.attn.x_{part}"] = torch.rand(1, 1, d)
            t[f"{block}.ffn.x_k"] = torch.rand(d)
            t[f"{block}.attn.k_k"], t[f"{block}.attn.k_a"] = torch.rand(d) + 0.5, torch.rand(d) + 0.5
            t[f"{block}.attn.r_k"] = 0.5 * torch.randn(self.heads, self.width)
            for part, rank in self.ranks.items():
                if part == "v" and layer == 0:
                    continue
                low = f"{block}.attn.{part}_lora.lora"
                t[f"{low}.0.weight"] = torch.randn(rank, d) / d**0.5
                t[f"{low}.2.weight"] = torch.randn(d, rank) / rank**0.5
                if part != "g":
                    t[f"{low}.2.bias"] = torch.randn(d) - 0.5

    def forward(self, tokens, at):
        t = self.t
        x = at("hook_embed", self.norm(t["model.embeddings.weight"][tokens], "model.layers.0.pre_norm"))
        for layer in range(LAYERS):
            block, here = f"model.layers.{layer}", lambda site, values: at(f"blocks.{layer}.{site}", values)
            get = lambda name: t[f"{block}.attn.{name}"]
            low = lambda part, x: F.linear(
                x, get(f"{part}_lora.lora.2.weight"), t.get(f"{block}.attn.{part}_lora.lora.2.bias")
            )
            x = here("hook_resid_pre", x)
            y = self.norm(x, f"{block}.attn_norm")
            blends = {part: y + (shifted(y) - y) * get(f"x_{part}")[0] for part in "rwkvag"}
            down = {part: blends[part] @ get(f"{part}_lora.lora.0.weight").T for part in ("wavg" if layer else "wag")}
            r = here("mixer.hook_r", blends["r"] @ get("r_proj.weight").T)
            decay = torch.exp(-np.exp(-0.5) * torch.sigmoid(low("w", torch.tanh(down["w"]))))
            decay = here("mixer.hook_decay", decay)
            k = here("mixer.hook_k", blends["k"] @ get("k_proj.weight").T)
            v = blends["v"] @ get("v_proj.weight").T
            if layer:
                v = v + (first - v) * torch.sigmoid(low("v", down["v"]))
            v = here("mixer.hook_v", v)
            if not layer:
                first = v
            rate = here("mixer.hook_rate", torch.sigmoid(low("a", down["a"])))
            gate = here("mixer.hook_gate", low("g", torch.sigmoid(down["g"])))
            (p,) = self.heads_of(k * get("k_k"))
            p = F.normalize(p, dim=-1, p=2.0)
            k = k * (1 + (rate - 1) * get("k_a"))
            r, decay, k, v, rate = self.heads_of(r, decay, k, v, rate)
            state, read = torch.zeros(self.heads, self.width, self.width, dtype=x.dtype), []
            for i in range(len(x)):
                found = (p[i][:, :, None] * state).sum(1)
                state = decay[i][:, :, None] * state - (p * rate)[i][:, :, None] * found[:, None, :]
                state = state + k[i][:, :, None] * v[i][:, None, :]
                read.append((r[i][:, :, None] * state).sum(1).flatten())
            y = here("mixer.hook_y", torch.stack(read))
            itself = ((r * k * get("r_k")).sum(-1, keepdim=True) * v).flatten(1)
            z = here("mixer.hook_z", (self.read(y, f"{block}.attn.g_norm") + itself) * gate)
            x = here("hook_resid_mid", x + here("hook_mixer_out", z @ get("o_proj.weight").T))
            y = self.norm(x, f"{block}.ffn_norm")
            blend = y + (shifted(y) - y) * t[f"{block}.ffn.x_k"]
            pre = here("mlp.hook_pre", blend @ t[f"{block}.ffn.key.weight"].T)
            post = here("mlp.hook_post", torch.relu(pre) ** 2)
            x = here("hook_resid_post", x + here("hook_mlp_out", post @ t[f"{block}.ffn.value.weight"].T))
        return at("ln_final.hook_normalized", self.norm(x, "model.norm")) @ t["lm_head.weight"].T

    def original(self):
        """As the authors store them: the first layer has a pair of its values too, which nothing reads."""
        tensors = super().original()
        unread = {f"blocks.0.att.v{n}": torch.randn_like(tensors[f"blocks.1.att.v{n}"]) for n in range(3)}
        return tensors | unread


def make_original(model, folder, seed):
    """Without a config epsilons are those of the authors."""
    model.eps, model.head_eps = 1e-5, 64e-5
    folder.mkdir(exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.original().items()}, folder / "model.safetensors")
    rng = np.random.default_rng(seed)
    sentences = [rng.integers(0, V, n).tolist() for n in LENGTHS]
    sites, logits = run(model, sentences)
    arrays = {"tokens": torch.tensor(sum(sentences, [])), "offsets": torch.tensor(np.cumsum([0, *LENGTHS]))}
    arrays |= {site: values.float() for site, values in sites.items()} | {"logits": logits.float()}
    save_file({k: v.contiguous() for k, v in arrays.items()}, folder / "expected.safetensors")


if __name__ == "__main__":
    for name, kind, seed in [("rwkv6", Rwkv6, 75), ("rwkv7", Rwkv7, 77)]:
        torch.manual_seed(seed)
        model = kind()
        make_state_space.make(name, model, seed)
        make_original(model, HERE / f"{name}-original", seed + 1)
