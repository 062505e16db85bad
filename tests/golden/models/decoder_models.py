"""The decoders that make_decoders.py makes: the config of each, and where transformers' model has which site.

A site is a path and a side of the module; a module and its columns of several sites; or the experts of a block.
"""

import numpy as np
import transformers

from make import N_CTX

D, HEADS, KV, HEAD, MLP, V = 32, 4, 2, 8, 44, 37


def llama_like(cls, **more):
    options = {
        "vocab_size": V,
        "hidden_size": D,
        "num_hidden_layers": 2,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV,
        "intermediate_size": MLP,
        "max_position_embeddings": N_CTX,
        "tie_word_embeddings": False,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return getattr(transformers, cls)(**{**options, **more})


def gpt_like(cls, **more):
    options = {
        "vocab_size": V,
        "n_embd": D,
        "n_layer": 2,
        "n_head": HEADS,
        "n_inner": MLP,
        "n_positions": N_CTX,
        "layer_norm_epsilon": 1e-4,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return getattr(transformers, cls)(**{**options, **more})


LLAMA = {
    "layers": "model.layers",
    "embed": "model.embed_tokens:out",
    "final_norm": "model.norm:out",
    "attention": "self_attn",
    "q": "self_attn.q_proj:out",
    "k": "self_attn.k_proj:out",
    "v": "self_attn.v_proj:out",
    "z": "self_attn.o_proj:in",
    "attn_out": "self_attn.o_proj:out",
    "resid_mid": "post_attention_layernorm:in",
    "pre": "mlp.gate_proj:out",
    "pre_linear": "mlp.up_proj:out",
    "post": "mlp.down_proj:in",
    "mlp_out": "mlp.down_proj:out",
}
ROPE = {"rope_type": "default", "rope_theta": 500.0}


def scaled(kind, **more):
    return lambda: llama_like(
        "LlamaConfig", head_dim=HEAD, rope_parameters={"rope_type": kind, "rope_theta": 100.0, **more}
    )


def joined(*widths):
    """The columns of q, k and v side by side."""
    ends = np.cumsum([0, *widths])
    return {s: list(range(ends[i], ends[i + 1])) for i, s in enumerate(["q", "k", "v"])}


def by_head(heads, kv, head):
    """The columns of q, k and v where each key/value head has its queries, its key and its value side by side."""
    each = heads // kv + 2
    at = lambda group, idx: range((group * each + idx) * head, (group * each + idx + 1) * head)
    return {
        "q": [c for group in range(kv) for idx in range(each - 2) for c in at(group, idx)],
        "k": [c for group in range(kv) for c in at(group, each - 2)],
        "v": [c for group in range(kv) for c in at(group, each - 1)],
    }


def without(sites, *names):
    return {site: where for site, where in sites.items() if site not in names}


def falcon(**more):
    return transformers.FalconConfig(
        vocab_size=V,
        hidden_size=D,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        ffn_hidden_size=MLP,
        max_position_embeddings=N_CTX,
        rope_parameters=ROPE,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        alibi=False,
        bos_token_id=1,
        eos_token_id=2,
        **more,
    )


def experts(block, gate="gate", top_k=None, normalizes=True, shared=False):
    """The sites of experts; `block` is where they are in a layer."""
    dropped = without(LLAMA, "pre", "pre_linear", "post", "mlp_out")
    return dropped | {"experts": (block, {"gate": gate, "top_k": top_k, "normalizes": normalizes, "shared": shared})}


QKV = joined(HEADS * HEAD, KV * HEAD, KV * HEAD)
GEMMA = LLAMA | {"embed": "model.layers.0:in"}
SANDWICH = GEMMA | {
    "attn_out": "post_attention_layernorm:out",
    "resid_mid": "pre_feedforward_layernorm:in",
    "mlp_out": "post_feedforward_layernorm:out",
}
NEOX = {
    "layers": "gpt_neox.layers",
    "embed": "gpt_neox.embed_in:out",
    "final_norm": "gpt_neox.final_layer_norm:out",
    "attention": "attention",
    "qkv": ("attention.query_key_value", by_head(HEADS, HEADS, HEAD)),
    "z": "attention.dense:in",
    "attn_out": "attention.dense:out",
    "pre": "mlp.dense_h_to_4h:out",
    "post": "mlp.dense_4h_to_h:in",
    "mlp_out": "mlp.dense_4h_to_h:out",
}
BLOOM = {
    "layers": "transformer.h",
    "embed": "transformer.word_embeddings:out",
    "final_norm": "transformer.ln_f:out",
    "attention": "self_attention",
    "z": "self_attention.dense:in",
    "attn_out": "self_attention.dense:out",
    "resid_mid": "post_attention_layernorm:in",
    "pre": "mlp.dense_h_to_4h:out",
    "post": "mlp.dense_4h_to_h:in",
    "mlp_out": "mlp.dense_4h_to_h:out",
}

# The config, the sites, and whether gradients of parameters are kept: True, False (their loss alone), "sites" (neither:
# the family has none); none of a variant.
FAMILIES = {
    "llama-linear": (scaled("linear", factor=3.0), LLAMA, None),
    "llama-dynamic": (scaled("dynamic", factor=2.0), LLAMA, None),
    "llama-yarn": (scaled("yarn", factor=4.0, original_max_position_embeddings=16), LLAMA, None),
    "llama-3": (
        scaled("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=24),
        LLAMA,
        None,
    ),
    "llama-biased": (
        lambda: llama_like("LlamaConfig", attention_bias=True, mlp_bias=True, rope_parameters=ROPE),
        LLAMA,
        None,
    ),
    "mistral": (lambda: llama_like("MistralConfig", sliding_window=5, head_dim=HEAD, rope_parameters=ROPE), LLAMA, False),
    "qwen2": (
        lambda: llama_like(
            "Qwen2Config", use_sliding_window=True, sliding_window=4, max_window_layers=1, rope_parameters=ROPE
        ),
        LLAMA,
        False,
    ),
    "qwen3": (lambda: llama_like("Qwen3Config", head_dim=HEAD, rope_parameters=ROPE), LLAMA, True),
    "smollm3": (
        lambda: llama_like("SmolLM3Config", no_rope_layers=[1, 0], tie_word_embeddings=True, rope_parameters=ROPE),
        LLAMA,
        False,
    ),
    "stablelm": (
        lambda: llama_like("StableLmConfig", use_qkv_bias=True, rope_parameters={**ROPE, "partial_rotary_factor": 0.5}),
        LLAMA,
        False,
    ),
    "olmo2": (
        lambda: llama_like("Olmo2Config", rope_parameters=ROPE),
        LLAMA
        | {
            "attn_out": "post_attention_layernorm:out",
            "resid_mid": "mlp:in",
            "mlp_out": "post_feedforward_layernorm:out",
        },
        True,
    ),
    "phi3": (
        lambda: llama_like(
            "Phi3Config",
            sliding_window=6,
            max_position_embeddings=4 * N_CTX,
            original_max_position_embeddings=N_CTX,
            rope_parameters={
                "rope_type": "longrope",
                "rope_theta": 500.0,
                "original_max_position_embeddings": N_CTX,
                "short_factor": [1.0, 1.1, 1.3, 2.0],
                "long_factor": [1.0, 2.0, 4.0, 4.0],
            },
        ),
        LLAMA
        | {
            "qkv": ("self_attn.qkv_proj", QKV),
            "gate_up": ("mlp.gate_up_proj", {"pre": list(range(MLP)), "pre_linear": list(range(MLP, 2 * MLP))}),
        },
        False,
    ),
    "gptj": (
        lambda: gpt_like("GPTJConfig", rotary_dim=4, activation_function="gelu_new"),
        {
            "layers": "transformer.h",
            "embed": "transformer.wte:out",
            "final_norm": "transformer.ln_f:out",
            "attention": "attn",
            "q": "attn.q_proj:out",
            "k": "attn.k_proj:out",
            "v": "attn.v_proj:out",
            "z": "attn.out_proj:in",
            "attn_out": "attn.out_proj:out",
            "pre": "mlp.fc_in:out",
            "post": "mlp.fc_out:in",
            "mlp_out": "mlp.fc_out:out",
        },
        False,
    ),
    "gpt_neox": (
        lambda: llama_like(
            "GPTNeoXConfig", rope_parameters={**ROPE, "partial_rotary_factor": 0.5}, use_parallel_residual=True
        ),
        NEOX,
        True,
    ),
    "gpt_neo": (
        lambda: transformers.GPTNeoConfig(
            vocab_size=V,
            hidden_size=D,
            num_layers=2,
            num_heads=HEADS,
            intermediate_size=MLP,
            max_position_embeddings=N_CTX,
            attention_types=[[["global", "local"], 1]],
            window_size=6,
            attention_dropout=0.0,
            embed_dropout=0.0,
            resid_dropout=0.0,
            bos_token_id=1,
            eos_token_id=2,
        ),
        {
            "layers": "transformer.h",
            "embed": "transformer.drop:out",
            "final_norm": "transformer.ln_f:out",
            "attention": "attn.attention",
            "q": "attn.attention.q_proj:out",
            "k": "attn.attention.k_proj:out",
            "v": "attn.attention.v_proj:out",
            "z": "attn.attention.out_proj:in",
            "attn_out": "attn.attention.out_proj:out",
            "resid_mid": "ln_2:in",
            "pre": "mlp.c_fc:out",
            "post": "mlp.c_proj:in",
            "mlp_out": "mlp.c_proj:out",
        },
        False,
    ),
    "opt": (
        lambda: transformers.OPTConfig(
            vocab_size=V,
            hidden_size=D,
            num_hidden_layers=2,
            num_attention_heads=HEADS,
            ffn_dim=MLP,
            max_position_embeddings=N_CTX,
            word_embed_proj_dim=D,
            dropout=0.0,
            layerdrop=0.0,
            pad_token_id=1,
            bos_token_id=2,
            eos_token_id=2,
        ),
        {
            "layers": "model.decoder.layers",
            "embed": "model.decoder.layers.0:in",
            "final_norm": "model.decoder.final_layer_norm:out",
            "attention": "self_attn",
            "q": "self_attn.q_proj:out",
            "k": "self_attn.k_proj:out",
            "v": "self_attn.v_proj:out",
            "z": "self_attn.out_proj:in",
            "attn_out": "self_attn.out_proj:out",
            "resid_mid": "final_layer_norm:in",
            "pre": "fc1:out",
            "post": "fc2:in",
            "mlp_out": "fc2:out",
        },
        True,
    ),
    "bloom": (
        lambda: transformers.BloomConfig(
            vocab_size=V,
            hidden_size=36,
            n_layer=2,
            n_head=6,  # no power of two
            layer_norm_epsilon=1e-4,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            seq_length=N_CTX,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=3,
        ),
        BLOOM | {"embed": "transformer.word_embeddings_layernorm:out", "qkv": ("self_attention.query_key_value", by_head(6, 6, 6))},
        False,
    ),
    "falcon": (
        lambda: falcon(multi_query=True, parallel_attn=True, new_decoder_architecture=False),
        without(BLOOM, "resid_mid") | {"qkv": ("self_attention.query_key_value", joined(D, HEAD, HEAD))},
        False,
    ),
    "falcon-new": (
        lambda: falcon(new_decoder_architecture=True, num_kv_heads=KV),
        without(BLOOM, "resid_mid") | {"qkv": ("self_attention.query_key_value", by_head(HEADS, KV, HEAD))},
        None,
    ),
    "falcon-serial": (
        lambda: falcon(multi_query=False, parallel_attn=False, bias=True),
        BLOOM | {"qkv": ("self_attention.query_key_value", by_head(HEADS, HEADS, HEAD))},
        None,
    ),
    "phi": (
        lambda: llama_like("PhiConfig", rope_parameters={**ROPE, "partial_rotary_factor": 0.5}),
        without(LLAMA, "resid_mid", "pre_linear")
        | {
            "final_norm": "model.final_layernorm:out",
            "z": "self_attn.dense:in",
            "attn_out": "self_attn.dense:out",
            "pre": "mlp.fc1:out",
            "post": "mlp.fc2:in",
            "mlp_out": "mlp.fc2:out",
        },
        False,
    ),
    "gemma": (lambda: llama_like("GemmaConfig", head_dim=12, rope_parameters=ROPE, tie_word_embeddings=True), GEMMA, True),
    "gemma2": (
        lambda: llama_like(
            "Gemma2Config",
            head_dim=12,
            rope_parameters=ROPE,
            tie_word_embeddings=True,
            query_pre_attn_scalar=20,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=5.0,
            sliding_window=5,
        ),
        SANDWICH,
        True,
    ),
    "gemma3_text": (
        lambda: llama_like(
            "Gemma3TextConfig",
            head_dim=12,
            rope_parameters={
                "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 900.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            },
            tie_word_embeddings=True,
            query_pre_attn_scalar=20,
            sliding_window=5,
            layer_types=["sliding_attention", "full_attention"],
        ),
        SANDWICH,
        True,
    ),
    "mixtral": (
        lambda: llama_like(
            "MixtralConfig",
            intermediate_size=12,
            num_local_experts=4,
            num_experts_per_tok=2,
            sliding_window=None,
            rope_parameters=ROPE,
        ),
        experts("mlp", top_k=2),
        False,
    ),
    "qwen2_moe": (
        lambda: llama_like(
            "Qwen2MoeConfig",
            num_experts=4,
            num_experts_per_tok=2,
            moe_intermediate_size=12,
            shared_expert_intermediate_size=16,
            decoder_sparse_step=1,
            norm_topk_prob=False,
            rope_parameters=ROPE,
        ),
        experts("mlp", top_k=2, normalizes=False, shared=True),
        False,
    ),
    "qwen3_moe": (
        lambda: llama_like(
            "Qwen3MoeConfig",
            head_dim=HEAD,
            num_experts=5,
            num_experts_per_tok=3,
            moe_intermediate_size=12,
            norm_topk_prob=True,
            rope_parameters=ROPE,
        ),
        experts("mlp", top_k=3),
        False,
    ),
}


def gpt_oss():
    yarn = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 16,
            "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False}
    return llama_like("GptOssConfig", head_dim=HEAD, intermediate_size=32, num_local_experts=4, num_experts_per_tok=2,
                      sliding_window=5, swiglu_limit=0.9, rope_parameters=yarn)


OSS = experts("mlp", "router", top_k=2) | {"sinks": True}
FAMILIES |= {"gpt_oss": (gpt_oss, OSS, "sites"), "gpt_oss-mxfp4": (gpt_oss, OSS, None)}
