"""Writes expected.json: losses and gradient norms of a few AdamW steps on the small random models of ../models.

    python tests/golden/training/make.py

In float64, with torch and transformers; the batch and the settings are those of the test.
"""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

HERE = Path(__file__).parent
SENTENCES, STEPS = [7, 1, 12], 6


def steps(family):
    masked = family == "bert"
    load = AutoModelForMaskedLM if masked else AutoModelForCausalLM
    model = load.from_pretrained(HERE.parent / "models" / family, torch_dtype=torch.float64).eval()
    vocabulary = model.config.vocab_size
    sentences = [torch.tensor([[(i + n) * 31 % vocabulary for i in range(n)]]) for n in SENTENCES]
    named = list(model.named_parameters())
    groups = [
        {"params": [p for _, p in named if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for _, p in named if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.95), eps=1e-8)
    out = []
    for _ in range(STEPS):
        losses = []
        for x in sentences:
            logits = model(input_ids=x).logits[0]
            # What is to be said at a place is the token after the next, around the sentence's end.
            losses.append(torch.nn.functional.cross_entropy(logits, x[0].roll(-2), reduction="sum"))
        loss = sum(losses) / sum(SENTENCES)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        out.append([loss.item(), norm.item()])
    return out


if __name__ == "__main__":
    expected = {family: steps(family) for family in ["gpt2", "llama", "bert"]}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
