"""Records what transformers computes with a model, for `nissl check MODEL --reference FILE`.

    python reference.py MODEL --text "Some text." --text "Another." --out reference.safetensors

MODEL is a folder, a name on the Hugging Face Hub, or a GGUF file. Needs torch, transformers, numpy and safetensors
(for GGUF files gguf and accelerate too); made with torch 2.15, transformers 5.23, safetensors 0.8, numpy 2.4.

The file, for T tokens of S sentences one behind the other, no padding, each sentence run alone:

    tokens [T], offsets [S + 1]                        64-bit integers
    hook_embed                       [T, d_model]      what enters the first block
    blocks.<i>.hook_resid_post       [T, d_model]      what leaves block i
    ln_final.hook_normalized         [T, d_model]      after the final norm, where the model has one
    blocks.<i>.attn.hook_pattern.<s> [heads, q, k]     attention probabilities of sentence s
    logits                           [T, vocabulary]   where the model has a language-model head

and, in blocks whose modules bear names that are known (see PARTS): attn.hook_q, attn.hook_k, attn.hook_v, attn.hook_z,
hook_attn_out, hook_resid_mid, mlp.hook_pre, mlp.hook_pre_linear, mlp.hook_post, hook_mlp_out of every block. All
values are 32-bit floats; versions, texts and the digest of config.json are in the metadata.

Of a model with an encoder and a decoder a sentence is its source and, behind it, the same tokens as the target, begun by
the token that starts the decoder and without their last: sources [S] has the lengths of the sources. Names begin with
encoder. and decoder. in place of blocks., what leaves the blocks is recorded, all attention probabilities
(decoder.<i>.cross_attn.hook_pattern.<s> among them) and the logits; rows of the side that is not read are zeros.

Names are TransformerLens's. `hidden_states[i + 1]` of transformers is blocks.<i>.hook_resid_post, but for the last one:
in models with a norm before each part (GPT-2, Llama) it is taken after the final norm and is ln_final.hook_normalized;
in models with a norm behind each part (BERT) there is no such norm. Which of the two a model is, is seen, not assumed:
the last hidden state is compared with what leaves the last block.

--float64 computes in 64-bit floats on the 32-bit weights. Parts that transformers computes in 32 bits whatever the model
(RMS norms, the softmax of attention) are computed in 64 bits too; rotary angles stay as they are.
"""

import argparse
import hashlib
import json
import pathlib
import re

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

# What a module within a block is, by its name there; the first that fits. "in" is what enters it, "out" what leaves it.
PARTS = [
    (r".*(attn|attention).*\.(q_proj|query|q_lin|q)", {"out": "attn.hook_q"}),
    (r".*(attn|attention).*\.(k_proj|key|k_lin|k)", {"out": "attn.hook_k"}),
    (r".*(attn|attention).*\.(v_proj|value|v_lin|v)", {"out": "attn.hook_v"}),
    (r"attn\.c_attn", {"thirds": ["attn.hook_q", "attn.hook_k", "attn.hook_v"]}),
    (
        r".*(attn|attention).*\.(o_proj|out_proj|c_proj|out_lin|o|output\.dense)|attention\.dense",
        {"in": "attn.hook_z", "out": "hook_attn_out"},
    ),
    (r"attention\.output\.LayerNorm|sa_layer_norm", {"out": "hook_resid_mid"}),
    (r"mlp\.gate_proj", {"out": "mlp.hook_pre"}),
    (r"mlp\.up_proj", {"out": "mlp.hook_pre_linear"}),
    (r"(mlp\.)?(c_fc|fc1|fc_in|dense_h_to_4h)|intermediate\.dense|ffn\.lin1", {"out": "mlp.hook_pre"}),
    (
        r"(mlp\.)?(c_proj|fc2|fc_out|dense_4h_to_h|down_proj)|output\.dense|ffn\.lin2",
        {"in": "mlp.hook_post", "out": "hook_mlp_out"},
    ),
]
# Fields of a config that say nothing of what is computed.
ELSEWHERE = ["_name_or_path", "transformers_version"]
# A norm whose input is the stream between attention and MLP, in blocks with norms before each part.
MIDDLE = r"ln_2|post_attention_layernorm"


def arguments():
    parser = argparse.ArgumentParser(description="Records what transformers computes with a model, for nissl check.")
    parser.add_argument("model", help="folder, Hub name or GGUF file")
    parser.add_argument("--text", action="append", required=True, help="a sentence; may be given again")
    parser.add_argument("--out", required=True, help="the file to write, *.safetensors")
    parser.add_argument("--float64", action="store_true", help="compute in 64-bit floats")
    parser.add_argument("--only-hidden-states", action="store_true", help="leave out what hooks on modules would add")
    return parser.parse_args()


def load(name):
    """The model in 32-bit floats with the head that its checkpoint has, its tokenizer, and its config's digest."""
    path, extra = pathlib.Path(name), {}
    if path.suffix == ".gguf":
        name, extra = str(path.parent), {"gguf_file": path.name}
    config = transformers.AutoConfig.from_pretrained(name, **extra)
    heads = [getattr(transformers, kind, None) for kind in config.architectures or []]
    heads = [kind for kind in heads if kind is not None and re.search(r"CausalLM|LMHead|MaskedLM|ConditionalGeneration|MarianMTModel", kind.__name__)]
    kind = heads[0] if heads else transformers.AutoModelForCausalLM if extra else transformers.AutoModel
    model = kind.from_pretrained(name, dtype=torch.float32, attn_implementation="eager", **extra).eval()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **extra)
    except (ValueError, OSError, KeyError):
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(path / "tokenizer.json"))
    settings = {name: value for name, value in config.to_dict().items() if name not in ELSEWHERE}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
    return model, tokenizer, digest


def in_64_bits(model):
    """The model in 64-bit floats, with the parts that would stay in 32."""
    model = model.double()
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
            module.forward = lambda x, m=module, eps=eps: (
                m.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))
            )
    softmax = torch.nn.functional.softmax
    torch.nn.functional.softmax = lambda x, *args, dtype=None, **kwargs: softmax(
        x, *args, dtype=None if x.dtype == torch.float64 else dtype, **kwargs
    )
    return model


def blocks_of(model):
    """The model's blocks, in order: the longest list of modules that is as long as the config says."""
    n_layers = model.config.num_hidden_layers
    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList) and len(module) == n_layers]
    if not lists:
        raise SystemExit(f"{type(model).__name__}: no list of {n_layers} blocks found")
    return max(lists, key=lambda blocks: sum(p.numel() for p in blocks.parameters()))


class Recorder:
    """Keeps what enters and leaves the modules that it watches, [rows, width] a sentence."""

    def __init__(self):
        self.values = {}

    def keep(self, name, values):
        values = values[0] if isinstance(values, tuple) else values
        self.values[name] = values.detach().reshape(-1, values.shape[-1]).clone()

    def watch(self, module, parts, prefix):
        def hook(_module, inputs, kwargs, output):
            given = inputs[0] if inputs else next(iter(kwargs.values()))
            if "in" in parts:
                self.keep(prefix + parts["in"], given)
            if "out" in parts:
                self.keep(prefix + parts["out"], output)
            for name, third in zip(parts.get("thirds", []), output.chunk(3, -1) if "thirds" in parts else []):
                self.keep(prefix + name, third)

        module.register_forward_hook(hook, with_kwargs=True)


def watch(model, recorder, only_hidden_states):
    blocks = blocks_of(model)
    for i, block in enumerate(blocks):
        prefix = f"blocks.{i}."
        recorder.watch(block, {"in": "hook_resid_pre", "out": "hook_resid_post"}, prefix)
        if only_hidden_states:
            continue
        names = {name: module for name, module in block.named_modules() if name}
        taken = set()
        for name, module in names.items():
            parts = next((parts for pattern, parts in PARTS if re.fullmatch(pattern, name)), {})
            sites = set(parts.get("thirds", [parts[side] for side in parts]))
            if parts and not taken & sites:
                recorder.watch(module, parts, prefix)
                taken |= sites
        for name, module in names.items():
            if "hook_resid_mid" not in taken and re.fullmatch(MIDDLE, name):
                recorder.watch(module, {"in": "hook_resid_mid"}, prefix)
    return len(blocks)


def run(model, recorder, ids, n_layers, sentence):
    """All values of a sentence by their names."""
    recorder.values = {}
    with torch.no_grad():
        out = model(input_ids=torch.tensor([ids]), output_hidden_states=True, output_attentions=True, return_dict=True)
    values = recorder.values
    states = out.hidden_states
    assert len(states) == n_layers + 1, f"{len(states)} hidden states of {n_layers} blocks"
    for i in range(n_layers):
        assert torch.equal(values.pop(f"blocks.{i}.hook_resid_pre"), states[i][0]), f"hidden_states[{i}] enters block {i}"
    values["hook_embed"] = states[0][0]
    if not torch.equal(values[f"blocks.{n_layers - 1}.hook_resid_post"], states[-1][0]):
        values["ln_final.hook_normalized"] = states[-1][0]
    for i, pattern in enumerate(out.attentions or []):
        if pattern is not None:
            values[f"blocks.{i}.attn.hook_pattern.{sentence}"] = pattern[0]
    logits = getattr(out, "logits", None)
    if logits is not None:
        values["logits"] = logits[0]
    return values


def run_pair(model, ids, sentence):
    """All values of a source and its target by their names, with rows for the tokens of both."""
    target = [model.config.decoder_start_token_id, *ids[:-1]]
    n_source, n_target = len(ids), len(target)
    tokens = {"input_ids": torch.tensor([ids]), "decoder_input_ids": torch.tensor([target])}
    with torch.no_grad():
        out = model(**tokens, output_hidden_states=True, output_attentions=True, return_dict=True, use_cache=False)
    values = {}

    def keep(name, own, before, after):
        own = own[0]
        values[name] = torch.cat([own.new_zeros(before, own.shape[1]), own, own.new_zeros(after, own.shape[1])])

    for stack, states, around in [
        ("encoder", out.encoder_hidden_states, (0, n_target)),
        ("decoder", out.decoder_hidden_states, (n_source, 0)),
    ]:
        keep(f"{stack}.hook_embed", states[0], *around)
        # The last hidden state is taken after the final norm, where there is one.
        for i, state in enumerate(states[1:-1]):
            keep(f"{stack}.{i}.hook_resid_post", state, *around)
        base = getattr(model, "model", model).get_submodule(stack)
        normed = hasattr(base, "final_layer_norm") or hasattr(base, "layer_norm")
        last = "ln_final.hook_normalized" if normed else f"{len(states) - 2}.hook_resid_post"
        keep(f"{stack}.{last}", states[-1], *around)
    for name, patterns in [
        ("encoder.{}.attn", out.encoder_attentions),
        ("decoder.{}.attn", out.decoder_attentions),
        ("decoder.{}.cross_attn", out.cross_attentions),
    ]:
        for i, pattern in enumerate(patterns or []):
            values[f"{name.format(i)}.hook_pattern.{sentence}"] = pattern[0]
    if getattr(out, "logits", None) is not None:
        keep("logits", out.logits, n_source, 0)
    return values, target


def main():
    given = arguments()
    model, tokenizer, digest = load(given.model)
    if given.float64:
        model = in_64_bits(model)
    sentences = [tokenizer(text)["input_ids"] for text in given.text]
    pairs = model.config.is_encoder_decoder
    recorder, joined, sources = Recorder(), {}, [len(ids) for ids in sentences]
    n_layers = model.config.num_hidden_layers if pairs else watch(model, recorder, given.only_hidden_states)
    for sentence, ids in enumerate(sentences):
        if pairs:
            found, target = run_pair(model, ids, sentence)
            sentences[sentence] = ids + target
        else:
            found = run(model, recorder, ids, n_layers, sentence)
        for name, values in found.items():
            joined.setdefault(name, []).append(values.float().numpy())
    arrays = {name: np.ascontiguousarray(np.concatenate(parts)) for name, parts in joined.items()}
    arrays["tokens"] = np.array(sum(sentences, []), dtype=np.int64)
    arrays["offsets"] = np.cumsum([0] + [len(ids) for ids in sentences]).astype(np.int64)
    if pairs:
        arrays["sources"] = np.array(sources, dtype=np.int64)
    metadata = {
        "format": "nissl reference 1",
        "made_by": f"transformers {transformers.__version__}, torch {torch.__version__}",
        "model": given.model.rstrip("/").rsplit("/", 1)[-1],
        "model_type": model.config.model_type,
        "class": type(model).__name__,
        "config_sha256": digest,
        "computed_in": "float64" if given.float64 else "float32",
        "texts": json.dumps(given.text),
    }
    save_file(arrays, given.out, metadata=metadata)
    sites = sorted({re.sub(r"^blocks\.\d+\.|(?<=pattern)\.\d+$", "", name) for name in arrays} - {"tokens", "offsets", "sources"})
    print(f"{given.out}: {len(arrays['tokens'])} tokens of {len(sentences)} sentences, {n_layers} layers")
    print(f"sites: {', '.join(sites)}")


if __name__ == "__main__":
    main()
