"""Makes a small vocabulary as RWKV's World models have it, and what their package makes of some texts.

    python make_world.py

Made with rwkv 0.8.32 and the texts of make_older.py. The vocabulary is all bytes, words and parts of the text of make.py,
and parts of characters.

    older/world/rwkv_vocab_small.txt    a number, the bytes as Python writes them down, how many they are
    older/world.json                    a list of [text, ids, null]
"""

import json
import pathlib
import re

from rwkv.rwkv_tokenizer import TRIE_TOKENIZER

import make
import make_older

HERE = pathlib.Path(__file__).parent / "older"
PARTS = [b"\xe7\xa5", b"\xf0\x9f", b"\xf0\x9f\xa7", b"\xcc\x81t", b"\xc3", b"'s", b"'t", b'"', b"\\n", b'\'"', b"\n\n", b"\r\n"]


def tokens():
    words = re.findall(r" ?\w+", make.CORPUS)
    known = [word.encode() for word in words if words.count(word) > 1]
    known += [word.encode()[:n] for word in words for n in (2, 3)]
    known += [b" " * n for n in (2, 3, 5)] + ["神".encode(), "é".encode(), " 神".encode(), "日本".encode(), *PARTS]
    return [bytes([byte]) for byte in range(256)] + sorted({token for token in known if len(token) > 1})


def line(idx, token):
    try:
        text = repr(token.decode())
    except UnicodeDecodeError:
        text = repr(token)
    return f"{idx} {text} {len(token)}\n"


if __name__ == "__main__":
    (HERE / "world").mkdir(exist_ok=True)
    file = HERE / "world" / "rwkv_vocab_small.txt"
    # Numbers begin at 1, and one is left out.
    numbered = [(idx + 1 + (idx > 300), token) for idx, token in enumerate(tokens())]
    file.write_text("".join(line(*both) for both in numbered), encoding="utf-8")
    reference = TRIE_TOKENIZER(str(file))
    cases = [[text, reference.encode(text), None] for text in make_older.TEXTS]
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (HERE / "world.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
