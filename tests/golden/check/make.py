"""Makes the model and the reference that `nissl check` is tested with.

    python make.py            # writes config.json, model.safetensors, tokenizer.json, reference.safetensors beside this file

Made with python 3, torch 2.15.0, transformers 5.23.0, safetensors 0.8.0, numpy 2.4.6, tokenizers 0.23.3. The model is a
random GPT-2 of two layers with a tokenizer of words; the reference is what scripts/reference.py records of it.
"""

import json
import pathlib
import subprocess
import sys

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel

HERE = pathlib.Path(__file__).parent
WORDS = ["[UNK]", "the", "cat", "sat", "on", "a", "mat", "dog", "ran", "home", "and", "slept", ".", "it", "was", "late"]
TEXTS = ["the cat sat on a mat .", "it was late", "a dog ran home and slept ."]

config = GPT2Config(
    vocab_size=len(WORDS), n_embd=16, n_layer=2, n_head=2, n_inner=24, n_positions=32, bos_token_id=0, eos_token_id=0
)
torch.manual_seed(7)
model = GPT2LMHeadModel(config).eval()
noise = torch.Generator().manual_seed(8)
for name, weight in model.named_parameters():
    shift = 1.0 if "ln_" in name and name.endswith("weight") else 0.0
    weight.data = shift + 0.3 * torch.randn(weight.shape, generator=noise)
model.tie_weights()
model.save_pretrained(HERE)
(HERE / "generation_config.json").unlink(missing_ok=True)

tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer.save(str(HERE / "tokenizer.json"))
(HERE / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}) + "\n")

script = HERE.parents[2] / "scripts" / "reference.py"
texts = [part for text in TEXTS for part in ("--text", text)]
subprocess.run([sys.executable, script, HERE, *texts, "--out", HERE / "reference.safetensors"], check=True)
