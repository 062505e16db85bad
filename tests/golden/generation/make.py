"""Makes what transformers generates with the golden models, and what its filters leave of some logits.

    python make.py            # writes gpt2.json, llama.json, filters.json beside this file

Made with python 3, torch 2.15.0, transformers 5.23.0.

<model>.json: a list of cases: the options as nissl writes a `Generation`, and for every prompt the new tokens (a stop
token is the last) and, of a beam search, the score. The models run in 64-bit floats on the 32-bit weights; every case
was chosen so that the stop tokens occur.
filters.json: a list of cases: logits, options, and the probabilities that temperature, top-k and top-p leave.
"""

import json
import pathlib

import torch
from transformers import AutoModelForCausalLM
from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

HERE = pathlib.Path(__file__).parent
PROMPTS = [[5, 9, 2, 33, 7], [11], [40, 3, 3, 17, 60, 28, 51, 8, 4]]


def names(options):
    """The options as transformers calls them."""
    own = {"n_beams": "num_beams", "stop_tokens": "eos_token_id"}
    return {own.get(name, name): value for name, value in options.items()}


def generate(model, prompt, options):
    stop = options["stop_tokens"]
    out = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        pad_token_id=stop[0],
        return_dict_in_generate=True,
        output_scores=True,
        **names(options),
    )
    tokens = out.sequences[0, len(prompt) :].tolist()
    ends = [i for i, token in enumerate(tokens) if token in stop]
    tokens = tokens[: ends[0] + 1] if ends else tokens
    score = float(out.sequences_scores[0]) if options.get("n_beams", 1) > 1 else None
    return {"prompt": prompt, "tokens": tokens, "score": score}


def cases(name):
    model = AutoModelForCausalLM.from_pretrained(HERE.parent / "models" / name, dtype=torch.float64)
    model.generation_config.eos_token_id = None
    plain = {"max_new_tokens": 14, "stop_tokens": [81 if name == "gpt2" else 76]}
    seen = [token for prompt in PROMPTS for token in generate(model, prompt, plain)["tokens"]]
    # Stop tokens that occur: one that is usual, and two that come late.
    usual = max(set(seen), key=seen.count)
    late = [seen[13], next(token for token in reversed(seen) if token != seen[13])]
    options = [
        plain,
        {"max_new_tokens": 14, "stop_tokens": late},
        {"max_new_tokens": 14, "stop_tokens": [usual], "min_new_tokens": 6},
        {"max_new_tokens": 20, "stop_tokens": late, "repetition_penalty": 1.7},
    ]
    for n_beams, length_penalty, early_stopping in [(2, 1.0, False), (3, 1.0, True), (4, 2.0, False), (3, -0.5, False), (5, 0.0, True)]:
        for stop in [[usual], late]:
            options.append({
                "max_new_tokens": 15,
                "stop_tokens": stop,
                "n_beams": n_beams,
                "length_penalty": length_penalty,
                "early_stopping": early_stopping,
            })
    options.append({"max_new_tokens": 12, "stop_tokens": late, "n_beams": 3, "repetition_penalty": 1.4, "min_new_tokens": 4})
    return [{"options": o, "texts": [generate(model, prompt, o) for prompt in PROMPTS]} for o in options]


def filters():
    generator = torch.Generator().manual_seed(3)
    found = []
    for n, temperature, top_k, top_p in [
        (40, 1.0, 0, 1.0),
        (40, 0.7, 5, 1.0),
        (40, 1.3, 0, 0.8),
        (40, 0.9, 12, 0.6),
        (40, 2.0, 1, 0.5),
        (40, 0.5, 100, 0.05),
        (7, 3.0, 3, 0.99),
    ]:
        logits = (3 * torch.randn(n, generator=generator)).float()
        logits[3] = logits[5]  # equals stay together in top-k
        scores = TemperatureLogitsWarper(temperature)(None, logits[None].double())
        if top_k:
            scores = TopKLogitsWarper(top_k)(None, scores)
        if top_p < 1:
            scores = TopPLogitsWarper(top_p)(None, scores)
        found.append({
            "logits": logits.tolist(),
            "options": {"temperature": temperature, "top_k": top_k, "top_p": top_p},
            "probabilities": scores.softmax(-1)[0].tolist(),
        })
    return found


def write(name, value):
    lines = ",\n".join(json.dumps(case) for case in value)
    (HERE / f"{name}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    for name in ["gpt2", "llama"]:
        write(name, cases(name))
    write("filters", filters())
