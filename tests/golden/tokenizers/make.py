"""Makes three small tokenizers of the usual kinds, and what they make of some texts.

    python make.py

Made with tokenizers 0.23.3 (its Python package). The text they are trained on is written below.

    wordpiece/   as BERT has it: lower case, no accents, [CLS] and [SEP] around a text
    bytelevel/   as GPT-2 has it: bytes, the space before a word belongs to its token, nothing around a text
    metaspace/   as Llama has it: a mark for spaces, bytes for unknown characters, <s> before a text

Every file also sets truncation to 4 tokens and padding to 9, which a reader for neurons has to switch off.

expected.json: for every tokenizer and text the tokens, whether each is special, and the bytes of the text that it
stands for: whole characters, without white space around them unless there is nothing else.
"""

import json
import pathlib

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
CORPUS = """
The nerve cell has one axon and many dendrites. The body of the cell keeps the grains that a stain makes blue.
When the axon is cut, the grains fade; when it grows again, the grains come back. Nobody knew why, and the
question was asked in every laboratory: what does one cell know, and how would we see it in the stain?
A reader of texts may ask the same of a model. One unit answers to names, another to verbs in the past, and a
third to nothing that we have a word for. We stained the cells, we counted them, and we wrote the counts down.
"""
TEXTS = [
    "The cell keeps the grains.",
    "One  unit answers\tto names \n",
    "",
    "   ",
    " leading space",
    "Café NAÏVE déjà-vu",
    "e\u0301tude, fu\u0308r",
    "神经 cell 🧠!",
    "stain[MASK]stain",
    "we<s>wrote",
    "x" * 120,
    "won't 3.14",
]


def pieces():
    return [line for line in CORPUS.split("\n") if line]


def wordpiece():
    # Not trained: the trainer breaks ties otherwise each time.
    letters = sorted(set("".join(pieces()).lower()) - {" "})
    words = "".join(c if c.isalpha() else " " for c in " ".join(pieces()).lower()).split()
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *("##" + letter for letter in letters)]
    known += ["##s", "##ed", "##er", "##ing", "##ound", *sorted({word for word in words if words.count(word) > 1})]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(known))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.add_special_tokens(known[:5])
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def bytelevel():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(pieces(), trainer)
    return tokenizer


def metaspace():
    special = ["<unk>", "<s>", "</s>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special + [f"<0x{byte:02X}>" for byte in range(256)],
        max_token_length=8,
        show_progress=False,
    )
    # Trained word by word, as SentencePiece does: no token spans a space.
    tokenizer.train_from_iterator([word for line in pieces() for word in line.split(" ")], trainer)
    saved = json.loads(tokenizer.to_str())
    saved["added_tokens"] = [token for token in saved["added_tokens"] if token["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(saved))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def trimmed(text, start, end):
    """Characters to bytes, without white space around them."""
    piece = text[start:end]
    if piece.strip():
        start, end = start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())
    return [len(text[:start].encode()), len(text[:end].encode())]


def main():
    expected = {}
    for name, build in [("wordpiece", wordpiece), ("bytelevel", bytelevel), ("metaspace", metaspace)]:
        tokenizer = build()
        cases = []
        for text in TEXTS:
            encoding = tokenizer.encode(text)
            special = [bool(mask) for mask in encoding.special_tokens_mask]
            offsets = [[0, 0] if s else trimmed(text, *o) for s, o in zip(special, encoding.offsets)]
            cases.append(
                {
                    "text": text,
                    "ids": encoding.ids,
                    "tokens": encoding.tokens,
                    "special": special,
                    "offsets": offsets,
                    "decoded": tokenizer.decode(encoding.ids),
                }
            )
        expected[name] = cases
        tokenizer.enable_truncation(4)
        tokenizer.enable_padding(length=9)
        (HERE / name).mkdir(exist_ok=True)
        tokenizer.save(str(HERE / name / "tokenizer.json"), pretty=False)
    lines = []
    for name, cases in expected.items():
        inner = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
        lines.append(f'"{name}": [\n{inner}\n]')
    (HERE / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
