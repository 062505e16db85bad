"""Picks the demo's sentences: make.py FOLDER writes demo.jsonl.

FOLDER holds bronte.txt, darwin.txt, dubois.txt and shakespeare.txt: works of four authors published before 1929 and in
the public domain in the United States (Charlotte Bronte: Jane Eyre and other novels; Charles Darwin: On the Origin of
Species and later works; W.E.B. Du Bois: Darkwater and other books up to 1920; William Shakespeare: plays).

From each author, paragraphs at even distances are cut into sentences; of each paragraph the first sentence is kept
that is whole (a capital at its start, an end mark, balanced quotation marks and brackets), 6 to 28 words long, and
free of tables, footnotes, headings, index entries and of words that have since become insults. Nothing is drawn by
lot: the same folder gives the same file.
"""

import json
import re
import sys
from pathlib import Path

PER_AUTHOR = 100
AUTHORS = {"bronte": "Brontë", "darwin": "Darwin", "dubois": "Du Bois", "shakespeare": "Shakespeare"}
ABBREVIATIONS = re.compile(r"\b(Mr|Mrs|Dr|St|M|Mme|Prof|Rev|Capt|Col|Gen|Hon|Esq|No|vol|Vol|fig|Fig|chap|p|pp|Proc|Journ|Trans|Hist|Nat|i\.e|e\.g|etc|[A-Z])\.$")
UNWANTED = re.compile(
    r"negro|nigg|darky|darkies|savage|mulatto|coolie|lynch|barbar|slave|half-breed|bastard|whore|harlot|heathen|jew"
    r"|hottentot|squaw|eunuch|breast|rape|naked|suicid|murder",
    re.IGNORECASE,
)
# An entry of Darwin's indexes has none of these.
VERB = re.compile(r"\b(is|are|was|were|be|been|has|have|had|do|does|did|can|may|might|will|would|could|should|must)\b")
ODD = re.compile(r"[_*\[\]{}|<>=#~^\\/]|\d{3}|\.\s*\.|--\s*$|[A-Z]{3}")


def paragraphs(text, author):
    for block in re.split(r"\n\s*\n", text):
        if author == "shakespeare":  # "SPEAKER:" stands on a line of its own
            block = block.partition("\n")[2]
        yield " ".join(block.split())


def sentences(paragraph):
    start = 0
    for end in re.finditer(r"[.!?][\"']?(?=\s|$)", paragraph):
        if not ABBREVIATIONS.search(paragraph[start : end.start() + 1]):
            yield paragraph[start : end.end()].strip()
            start = end.end()


def whole(sentence, author):
    return (
        6 <= len(sentence.split()) <= 28
        and re.match(r"[\"']?[A-Z]", sentence)
        and sentence.count('"') % 2 == 0
        and sentence.count("(") == sentence.count(")")
        and not ODD.search(sentence)
        and not UNWANTED.search(sentence)
        and (author != "darwin" or VERB.search(sentence))
        and sum(word[0].isupper() for word in sentence.split()) <= 4
    )


def pick(text, author):
    kept = [next((s for s in sentences(p) if whole(s, author)), None) for p in paragraphs(text, author)]
    kept = list(dict.fromkeys(s for s in kept if s))
    return [kept[i * len(kept) // PER_AUTHOR] for i in range(PER_AUTHOR)]


def main():
    folder, here = Path(sys.argv[1]), Path(__file__).parent
    picked = {a: pick((folder / f"{a}.txt").read_text(encoding="utf-8"), a) for a in AUTHORS}
    with open(here / "demo.jsonl", "w", encoding="utf-8") as out:
        for i in range(PER_AUTHOR):
            for author, name in AUTHORS.items():  # the four in turn, so that any first part is balanced
                row = {"text": " ".join(picked[author][i].replace("--", " -- ").split()), "author": name}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
