"""Writes default.json beside this file: the config that transformers gives a new model of every family, whole.

    python make.py

Made with python 3, transformers 5.23.0.
"""

import json
import pathlib

from transformers import CONFIG_MAPPING

TYPES = """bert roberta xlm-roberta distilbert electra albert mpnet deberta-v2 xlnet esm modernbert gpt2 llama mistral
ministral qwen2 qwen3 smollm3 stablelm olmo2 phi3 gpt_neox gptj gpt_neo opt bloom falcon phi gemma gemma2 gemma3_text
mixtral qwen2_moe qwen3_moe gpt_oss""".split()
NEEDED = {"esm": {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32}}  # those without a default


def whole(model_type):
    config = CONFIG_MAPPING[model_type](**NEEDED.get(model_type, {}))
    return config.to_dict()


if __name__ == "__main__":
    configs = {model_type: whole(model_type) for model_type in TYPES}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(fields)}" for name, fields in configs.items())
    (pathlib.Path(__file__).parent / "default.json").write_text(f"{{\n{lines}\n}}\n")
