"""Makes small tokenizers as folders without tokenizer.json have them, and what the references make of some texts.

    python make_older.py

Made with transformers 5.23.0, sentencepiece 0.2.3, tokenizers 0.23.3. The text that the sentencepiece models are
trained on is that of make.py, and the lines below.

    older/<kind>/       the files of a model folder that make a tokenizer
    older/<kind>.json   a list of [text, ids, offsets]: as expected.json, special tokens have the offsets [0, 0]
    older/marian.target.json    a list of [text, ids, text of the ids] of what a Marian writes
    older/cuts.json     for the ways to cut up a text that GGUF files name, the pieces of every text, in characters

The tokens are those of transformers' tokenizers of the same name; of `llama` those of the converter that made the
tokenizer.json of published models. Where a text spells no special token, what is made of a sentencepiece model is
compared with sentencepiece itself, which is right where they differ: in what a mark in the text is (`▁`), and in
names of bytes that are spelled. There, and where transformers misplaces characters behind one that is removed from
the start of a text, the offsets are null. `unigram-bytes` and `characters` have no class in transformers.
"""

import io
import json
import pathlib
import unicodedata
from types import SimpleNamespace

import sentencepiece
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, processors
from transformers import AlbertTokenizer, BertTokenizer, ByT5Tokenizer, GPT2Tokenizer, MPNetTokenizer
from transformers import MarianTokenizer, Qwen2Tokenizer, RobertaTokenizer, T5Tokenizer, XLMRobertaTokenizer
from transformers import convert_slow_tokenizer as convert
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

import make

HERE = pathlib.Path(__file__).parent / "older"
MORE = """
Très bien, dit le médecin: la cellule est brune, déjà tachée. Über alle Zellen wächst nichts.
In 1906, 1,000 cells; 12, 34, 567, 890. (One "cell" & another; what's it to you?) <b>Bold</b> [brackets] {braces}
"""
TEXTS = [
    "",
    " ",
    "   ",
    "The cell keeps the grains.",
    "the cell keeps the grains",
    " leading space",
    "  two leading spaces",
    "trailing space ",
    "trailing spaces   ",
    "One  unit  answers   to names",
    "tab\tseparated\t\ttext",
    "line\nbreak\n\nand\r\nmore\n",
    "\n",
    "Café NAÏVE déjà-vu",
    "e\u0301tude, fu\u0308r, Z\u0351\u036b",
    "神经细胞 cell 神",
    "ニューロン と 뉴런",
    "brain 🧠🧠 👩‍🔬!",
    "🇧🇷",
    "won't can't I'll THEY'RE we've it's",
    "3.14 12345 1,000 2,5 9,",
    "a,b;c:d.e!f?g-h_i/j\\k|l",
    "<b>tags</b> & [brackets] {braces} (parens)",
    "``quoted'' \"double\" 'single'",
    "x" * 120,
    "no<s>space</s>around",
    "a </s> b <pad> c <unk> d <mask> e",
    "stain[MASK]stain [CLS] [SEP] [UNK] [PAD]",
    "end<|endoftext|>of text <|endoftext|> here",
    "<extra_id_0> and<extra_id_7>. <extra_id_99>",
    "spelled <0x41> byte <0xZZ> <0x4",
    "▁marks ▁▁ and ▁",
    "Ġmarked Ċ Ã©",
    "##ing ## #",
    "\u00a0nbsp\u00a0\u2003wide\u200bzero",
    "\ufeffmark of order",
    "\u0001control\u0007 and \u0000 null",
    "ＦＵＬＬ ｗｉｄｔｈ ﬁne ½",
    "İstanbul ß ẞ ǅ Σας",
    "עברית عربى हिन्दी ไทย",
    "\u0301alone \u0301\u0301",
    "mixedCASE WordS_with_Under",
    "ab " * 40,
]
SPELLED = ("<s>", "</s>", "<pad>", "<unk>", "<mask>", "[MASK]", "<extra_id", "<|end", "<0x")


def lines():
    return [line for line in (make.CORPUS + MORE).split("\n") if line]


def rules():
    """A few of the rules of normalization that real models have, for a small file."""
    table = {"\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u2003": " ", "\u200b": " ", "\ufeff": " ", "\u0001": ""}
    table |= {"\u0007": "", "ﬁ": "fi", "½": "1⁄2", "e\u0301": "é", "u\u0308": "ü"}
    table |= {chr(0xFF21 + i): chr(ord("A") + i) for i in range(26)} | {chr(0xFF41 + i): chr(ord("a") + i) for i in range(26)}
    points = lambda text: " ".join(f"{ord(c):X}" for c in text)
    path = pathlib.Path(__file__).parent / "rules.tsv"
    path.write_text("".join(f"{points(old)}\t{points(new)}\n" for old, new in table.items()))
    return path


def train(path, **options):
    model, some = io.BytesIO(), options.pop("some", slice(None))
    normal = {"normalization_rule_name": "identity"}
    if options.pop("normalized", False):
        normal = {"normalization_rule_tsv": str(rules())}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines()[some]), model_writer=model, hard_vocab_limit=False, minloglevel=2, num_threads=1,
        **normal, **options,
    )
    if "normalization_rule_tsv" in normal:
        rules().unlink()
    proto = convert.import_protobuf().ModelProto.FromString(model.getvalue())
    proto.trainer_spec.ClearField("input")
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(proto.SerializeToString())
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def folder(name, **files):
    path = HERE / name
    path.mkdir(parents=True, exist_ok=True)
    for file, value in files.items():
        file = file.replace("__", ".")
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1) + "\n"
        (path / file).write_text(text)
    return path


def write(name, cases):
    rows = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (HERE / f"{name}.json").write_text(f"[\n{rows}\n]\n")


def case(text, ids, offsets, special):
    trimmed = [[0, 0] if s else make.trimmed(text, *o) for s, o in zip(special, offsets)]
    return [text, ids, trimmed]


def by_transformers(name, cls):
    encode = cls.from_pretrained(HERE / name).backend_tokenizer.encode
    write(name, [compared(name, text, encode(text)) for text in TEXTS])


def compared(name, text, encoding, reference=None):
    ids, offsets, mask = encoding.ids, encoding.offsets, encoding.special_tokens_mask
    row = case(text, ids, offsets, mask)
    if reference and text.startswith("\u0001"):
        row[2] = None
    if reference and ((name == "unigram-bytes" and "<0x" in text) or not any(spelled in text for spelled in SPELLED)):
        n_before, n_after = mask.index(0) if 0 in mask else 0, mask[::-1].index(0) if 0 in mask else 0
        plain = [i for i, s in zip(ids, mask) if not s]
        want = reference(text)
        if plain != want:
            print(f"{name}: {text!r}: transformers {plain}, sentencepiece {want}")
            row[1:] = [ids[:n_before] + want + ids[len(ids) - n_after :], None]
    return row


def wordpiece():
    base = json.loads((HERE.parent / "wordpiece/tokenizer.json").read_text())["model"]["vocab"]
    tokens = sorted(base, key=base.get)
    tokens = tokens[:20] + list("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789éüß神<>&[]{}()#-_;:!?/\"'") + tokens[20:]
    tokens = list(dict.fromkeys(tokens + ["##é", "Cell", "The", "##ü", "Caf"]))
    folder("bert", vocab__txt="".join(token + "\n" for token in tokens))
    by_transformers("bert", BertTokenizer)
    config = {"tokenizer_class": "BertTokenizerFast", "do_lower_case": False, "tokenize_chinese_chars": False,
              "mask_token": "[M]"}
    special = {"unk_token": "[UNK]", "cls_token": {"content": "[CLS]", "lstrip": False, "rstrip": False,
               "normalized": False, "single_word": False}, "mask_token": "[MASK]"}
    folder("bert-cased", vocab__txt="".join(token + "\r\n" for token in tokens), tokenizer_config__json=config,
           special_tokens_map__json=special)
    by_transformers("bert-cased", BertTokenizer)
    rename = {"[CLS]": "<s>", "[SEP]": "</s>", "[PAD]": "<pad>", "[MASK]": "<mask>"}
    tokens = [rename.get(token, token) for token in tokens]
    folder("mpnet", vocab__txt="".join(token + "\n" for token in tokens), config__json={"model_type": "mpnet"})
    by_transformers("mpnet", MPNetTokenizer)


def byte_level():
    saved = json.loads((HERE.parent / "bytelevel/tokenizer.json").read_text())["model"]
    merges = "#version: 0.2\n" + "".join(" ".join(merge) + "\n" for merge in saved["merges"])
    folder("gpt2", vocab__json=saved["vocab"], merges__txt=merges)
    by_transformers("gpt2", GPT2Tokenizer)
    folder("gpt2-space", vocab__json=saved["vocab"], merges__txt=merges, tokenizer_config__json={
        "add_prefix_space": True, "add_bos_token": True})
    by_transformers("gpt2-space", GPT2Tokenizer)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    plain = [token for token in sorted(saved["vocab"], key=saved["vocab"].get) if token != "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate(special[:4] + plain + special[4:])}
    mask = {"content": "<mask>", "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}
    folder("roberta", vocab__json=vocab, merges__txt=merges, config__json={"model_type": "roberta"},
           tokenizer_config__json={"mask_token": {"__type": "AddedToken", **mask}})
    by_transformers("roberta", RobertaTokenizer)
    chat = {"content": "<|im_start|>", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False,
            "special": True}
    n = len(saved["vocab"])
    folder("qwen2", vocab__json=saved["vocab"], merges__txt=merges, tokenizer_config__json={
        "tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": {str(n): chat, str(n + 1): chat | {
            "content": "think", "special": False}}})
    by_transformers("qwen2", Qwen2Tokenizer)


def by_converter(name, converter, file, special, reference, cls=None, before=None, small=True):
    """The tokenizer that a converter of transformers makes of a sentencepiece model.

    `special` are the special tokens in order of their numbers, `reference` is what sentencepiece makes of a text, in
    the numbers of the model; `cls` is the class that the tokens, not the offsets, are compared with.
    """
    original = SimpleNamespace(vocab_file=str(HERE / name / file), legacy=True, add_prefix_space=True, _extra_ids=100,
                               keep_accents=False, do_lower_case=small, split_by_punct=False, pad_token="<pad>",
                               eos_token="<eos>", bos_token="<bos>")
    original.convert_ids_to_tokens = special.__getitem__
    original.convert_tokens_to_ids = lambda token: numbers.get(token, special.index(token))
    numbers = {}
    converter = converter(original)
    numbers |= {row[0]: i for i, row in enumerate(converter.vocab(converter.proto))}
    tokenizer = converter.converted()
    mask = ("<mask>", "[MASK]")
    tokenizer.add_special_tokens([AddedToken(t, lstrip=t in mask, special=True, normalized=False) for t in special])
    if before:
        ids = [(before, numbers[before])]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{before} $A", special_tokens=ids)
    if cls:
        other = cls.from_pretrained(HERE / name).backend_tokenizer
        for text in TEXTS:
            assert tokenizer.encode(text).ids == other.encode(text).ids or "▁" in text, (name, text)
    write(name, [compared(name, text, tokenizer.encode(text), reference) for text in TEXTS])


class Albert(convert.AlbertConverter):
    """With the spaces at the end taken off, as transformers' other two tokenizers of ALBERT do."""

    def normalizer(self, proto):
        return normalizers.Sequence([super().normalizer(proto), normalizers.Strip(left=False, right=True)])


class XLNet(convert.XLNetConverter):
    """The same."""

    def normalizer(self, proto):
        return normalizers.Sequence([super().normalizer(proto), normalizers.Strip(left=False, right=True)])


class Llama(convert.LlamaConverter):
    is_bpe = True

    def tokenizer(self, proto):
        scores = {piece.piece: piece.score for piece in proto.pieces}
        vocab = {piece: i for i, piece in enumerate(scores)}
        merges = convert.generate_merges(vocab, scores) if self.is_bpe else []
        options = {"fuse_unk": True, "byte_fallback": self.is_bpe}
        return convert.Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", **options))


class Gemma(Llama):
    """Without a space before a text, and with the symbols of the user found where spaces are marks."""

    def tokenizer(self, proto):
        tokenizer = super().tokenizer(proto)
        tokenizer.add_tokens([AddedToken(piece.piece, normalized=True) for piece in proto.pieces if piece.type == 4])
        return tokenizer

    def normalizer(self, proto):
        return normalizers.Replace(" ", "▁")


class Characters(Llama):
    is_bpe = False


class Plain(convert.LlamaConverter):
    def vocab(self, proto):
        return [(piece.piece, piece.score) for piece in proto.pieces]


def sentencepiece_models():
    usual = ["<unk>", "<s>", "</s>"]
    kept = {"remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True, "byte_fallback": True}
    llama = train(HERE / "llama/tokenizer.model", model_type="bpe", vocab_size=460, **kept)
    token = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
    added = {str(i): {"content": content, **token} for i, content in enumerate(usual)}
    folder("llama", tokenizer_config__json={
        "tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "legacy": True,
        "added_tokens_decoder": added})
    by_converter("llama", Llama, "tokenizer.model", usual, llama.encode, before="<s>")
    plain = train(HERE / "unigram-bytes/tokenizer.model", model_type="unigram", vocab_size=420, **kept)
    by_converter("unigram-bytes", Plain, "tokenizer.model", usual, plain.encode)
    characters = train(HERE / "characters/any.spm", model_type="char", vocab_size=60, remove_extra_whitespaces=False)
    by_converter("characters", Characters, "any.spm", usual, characters.encode)
    t5 = train(HERE / "t5/spiece.model", model_type="unigram", vocab_size=200, normalized=True, pad_id=0, eos_id=1,
               unk_id=2, bos_id=-1)
    folder("t5", config__json={"model_type": "t5"})
    blanks = [f"<extra_id_{i}>" for i in range(100)]
    by_converter("t5", convert.T5Converter, "spiece.model", ["<pad>", "</s>", "<unk>", *blanks], t5.encode, T5Tokenizer)
    xlm = train(HERE / "xlm-roberta/sentencepiece.bpe.model", model_type="unigram", vocab_size=180, normalized=True)
    folder("xlm-roberta", config__json={"model_type": "xlm-roberta"}, tokenizer_config__json={
        "mask_token": {"__type": "AddedToken", "content": "<mask>", **token, "lstrip": True}})
    by_converter("xlm-roberta", convert.XLMRobertaConverter, "sentencepiece.bpe.model",
                 ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], lambda text: [i + 1 if i else 3 for i in xlm.encode(text)],
                 XLMRobertaTokenizer)
    albert = train(HERE / "albert/spiece.model", model_type="unigram", vocab_size=220, normalized=True, pad_id=0,
                   unk_id=1, bos_id=-1, eos_id=-1, control_symbols="[CLS],[SEP],[MASK]")
    folder("albert", tokenizer_config__json={"tokenizer_class": "AlbertTokenizer", "mask_token": {
        "__type": "AddedToken", "content": "[MASK]", **token, "lstrip": True}})
    folded = lambda text: "".join(
        c for c in unicodedata.normalize("NFKD", text.replace("``", '"').replace("''", '"')) if not unicodedata.combining(c)
    ).lower()
    by_converter("albert", Albert, "spiece.model", ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
                 lambda text: albert.encode(folded(text)), AlbertTokenizer)


def more_sentencepiece_models():
    names = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "pad_piece": "[PAD]", "bos_piece": "[CLS]",
             "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    deberta = train(HERE / "deberta-v2/spm.model", model_type="unigram", vocab_size=190, normalized=True, **names)
    folder("deberta-v2", config__json={"model_type": "deberta-v2"}, tokenizer_config__json={
        "do_lower_case": False, "split_by_punct": False, "vocab_type": "spm"})

    class Deberta(convert.DebertaV2Converter):
        """With the mask behind the file's pieces, where the class in Python alone has put it."""

        normalizer = convert.SpmConverter.normalizer

        def vocab(self, proto):
            return [*super().vocab(proto), ("[MASK]", 0.0)]

        def unk_id(self, proto):
            return 3

    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    by_converter("deberta-v2", Deberta, "spm.model", special, deberta.encode, small=False)
    controls = ["<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"]
    xlnet = train(HERE / "xlnet/spiece.model", model_type="unigram", vocab_size=190, normalized=True,
                  control_symbols=controls)
    folder("xlnet", config__json={"model_type": "xlnet"})
    unaccented = lambda text: "".join(
        c for c in unicodedata.normalize("NFKD", text.replace("``", '"').replace("''", '"'))
        if not unicodedata.combining(c)
    )
    by_converter("xlnet", XLNet, "spiece.model", ["<unk>", "<s>", "</s>", *controls],
                 lambda text: xlnet.encode(unaccented(text)), small=False)
    camembert = train(HERE / "camembert/sentencepiece.bpe.model", model_type="unigram", vocab_size=180, normalized=True)
    folder("camembert", config__json={"model_type": "camembert"})
    unused = ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"]
    by_converter("camembert", convert.CamembertConverter, "sentencepiece.bpe.model",
                 [*unused, "<s>", "<pad>", "</s>", "<unk>", "<mask>"],
                 lambda text: [i + 4 if i else 3 for i in camembert.encode(text)])
    for name, converter, files in [
        ("mbart", convert.MBartConverter, {"config__json": {"model_type": "mbart"}}),
        ("mbart50", convert.MBart50Converter, {"tokenizer_config__json": {"tokenizer_class": "MBart50TokenizerFast",
                                                                          "src_lang": "en_XX"}}),
    ]:
        mbart = train(HERE / name / "sentencepiece.bpe.model", model_type="unigram", vocab_size=150, normalized=True)
        folder(name, **files)
        languages = convert.MBART_LANGUAGES if name == "mbart" else convert.MBART50_LANGUAGES
        by_converter(name, converter, "sentencepiece.bpe.model",
                     ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *languages],
                     lambda text: [i + 1 if i else 3 for i in mbart.encode(text)])
    gemma = train(HERE / "gemma/tokenizer.model", model_type="bpe", vocab_size=440, remove_extra_whitespaces=False,
                  allow_whitespace_only_pieces=True, byte_fallback=True, add_dummy_prefix=False, pad_id=0, eos_id=1,
                  bos_id=2, unk_id=3, bos_piece="<bos>", eos_piece="<eos>",
                  user_defined_symbols=["<mask>", "\n", "\n\n", "▁▁", "▁▁▁", "<b>", "</b>"])
    folder("gemma", config__json={"model_type": "gemma2"})
    by_converter("gemma", Gemma, "tokenizer.model", ["<pad>", "<eos>", "<bos>", "<unk>"], gemma.encode, before="<bos>")


def marian():
    """Two models of two halves of the text, and a vocabulary that lacks some of their pieces and has others.

    The tokens are those of transformers' class in Python, the offsets those of its converter of such a model.
    """
    sides, half = {}, len(lines()) // 2
    for name, some, size in [("source", slice(0, half), 150), ("target", slice(half, None), 140)]:
        sides[name] = train(HERE / f"marian/{name}.spm", model_type="unigram", vocab_size=size, normalized=True, some=some)
    pieces = [side.id_to_piece(i) for side in sides.values() for i in range(3, side.vocab_size()) if i % 9]
    tokens = ["</s>", "<unk>", *dict.fromkeys([*pieces, "神", ">>fra<<", ">>deu<<", "🧠"]), "<pad>"]
    folder("marian", vocab__json={token: i for i, token in enumerate(tokens)}, config__json={"model_type": "marian"},
           tokenizer_config__json={"source_lang": "en", "target_lang": "fr", "separate_vocabs": False})
    tokenizer = MarianTokenizer.from_pretrained(HERE / "marian")
    original = SimpleNamespace(vocab_file=str(HERE / "marian/source.spm"), legacy=True, add_prefix_space=True)
    cutter = convert.SpmConverter(original).converted()
    rows = []
    for text in [*TEXTS, ">>fra<< The cell keeps the grains.", ">>deu<<The cell  神 🧠"]:
        ids, found = tokenizer(text)["input_ids"], cutter.encode(text)
        rows.append(case(text, ids, [*found.offsets, (0, 0)], [*found.special_tokens_mask, 1]))
        if found.tokens != sides["source"].encode(text, out_type=str) or text.startswith("\u0001"):
            rows[-1][2] = None
        if any(spelled in text for spelled in (*SPELLED, ">>")):
            rows[-1][2] = None
    write("marian", rows)
    targets = [tokenizer(text_target=text)["input_ids"] for text in TEXTS]
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in targets]
    write("marian.target", [list(row) for row in zip(TEXTS, targets, texts)])


def byt5():
    folder("byt5", tokenizer_config__json={"tokenizer_class": "ByT5Tokenizer"})
    tokenizer = ByT5Tokenizer()
    write("byt5", [[text, tokenizer(text)["input_ids"], None] for text in TEXTS])


def cuts():
    """The regular expressions are transformers'; those without are ByteLevel's own, after digits where told."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    own = pre_tokenizers.ByteLevel(add_prefix_space=False)
    after = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    all = {"gpt-2": own, "smollm": pre_tokenizers.Sequence([digits, own])}
    for name in ("llama-bpe", "dbrx", "qwen2", "qwen35", "tekken", "gpt-4o"):
        split = pre_tokenizers.Split(Regex(GGUF_PRE_TOKENIZER_SPLITS[name]), behavior="isolated")
        all[name] = pre_tokenizers.Sequence([split, after])
    rows = {name: [[list(span) for _, span in one.pre_tokenize_str(text)] for text in TEXTS] for name, one in all.items()}
    lines = [f'"texts": {json.dumps(TEXTS, ensure_ascii=False)}', *(f'"{k}": {json.dumps(v)}' for k, v in rows.items())]
    (HERE / "cuts.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    wordpiece()
    byte_level()
    sentencepiece_models()
    more_sentencepiece_models()
    marian()
    byt5()
    cuts()
