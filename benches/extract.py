"""Text to activations on disk: nissl, transformers at its best, and the loop that NeuroX runs.

Usage: python benches/extract.py MODEL CONLLU [--rounds N] [--threads N] [--nissl PATH] [--contender NAME]

All residual sites and all MLP neurons, mean of the sub-words of a word, as f16. transformers reads sentences sorted by
length in padded batches (the best of three batch sizes) and writes one .npy a site. NeuroX's loop reads one sentence a
forward pass and writes residual sites alone, as f32 HDF5 or as JSON, as that program does.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile

import common


def sentences(path, limit=None):
    """The words of every sentence of a CoNLL-U file, multiword tokens as their parts."""
    found, words = [], []
    for line in open(path, encoding="utf-8"):
        if line == "\n":
            found.append(words)
            words = []
        elif line[0] != "#":
            fields = line.split("\t")
            if fields[0].isdigit():
                words.append(fields[1].replace(" ", ""))
    return found[:limit]


def transformers(model_path, conllu, out, threads, batch_size):
    import numpy as np
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = AutoModel.from_pretrained(model_path, attn_implementation="sdpa").eval()
    text = sentences(conllu)
    starts = np.cumsum([0] + [len(words) for words in text])
    captured = {}

    def keep(name):
        def hook(_module, _inputs, output):
            captured[name] = output[0] if isinstance(output, tuple) else output

        return hook

    model.embeddings.register_forward_hook(keep("embed"))
    for i, layer in enumerate(model.encoder.layer):
        layer.register_forward_hook(keep(f"resid_{i}"))
        layer.intermediate.register_forward_hook(keep(f"mlp_{i}"))
    order = sorted(range(len(text)), key=lambda i: -len(text[i]))
    files = {}
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        batch = tokenizer([text[i] for i in chosen], is_split_into_words=True, padding=True, truncation=True, return_tensors="pt")
        model(**batch)
        rows, positions, targets = [], [], []
        for b, i in enumerate(chosen):
            for position, word in enumerate(batch.word_ids(b)):
                if word is not None:
                    rows.append(b)
                    positions.append(position)
                    targets.append(word)
        lengths = [len(text[i]) for i in chosen]
        base = np.cumsum([0] + lengths)
        target = torch.tensor(base[rows] + np.array(targets))
        counts = torch.bincount(target, minlength=int(base[-1])).clamp(min=1).unsqueeze(1)
        rows, positions = torch.tensor(rows), torch.tensor(positions)
        for name, values in captured.items():
            words = torch.zeros(int(base[-1]), values.shape[-1])
            words.index_add_(0, target, values[rows, positions])
            words = (words / counts).half().numpy()
            if name not in files:
                shape = (int(starts[-1]), values.shape[-1])
                files[name] = np.lib.format.open_memmap(f"{out}/{name}.npy", "w+", np.float16, shape)
            for b, i in enumerate(chosen):
                files[name][starts[i] : starts[i + 1]] = words[base[b] : base[b + 1]]
    print(json.dumps({"words": int(starts[-1])}))


def neurox(model_path, conllu, out, threads, form, limit):
    """One sentence a forward pass, sub-words counted by tokenizing every word between helper words."""
    import h5py
    import numpy as np
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = AutoModel.from_pretrained(model_path, output_hidden_states=True).eval()
    special = set(tokenizer.all_special_ids)
    text = sentences(conllu, limit)
    seen = {}
    file = h5py.File(f"{out}/acts.hdf5", "w") if form == "hdf5" else open(f"{out}/acts.json", "w")
    for index, words in enumerate(text):
        counts = []
        for i, word in enumerate(words):
            if word not in seen:
                framed = f"{word} a" if i == 0 else f"a {word} a" if i + 1 < len(words) else f"a {word}"
                ids = [t for t in tokenizer.encode(framed) if t not in special]
                seen[word] = len(ids) - (1 if i == 0 or i + 1 == len(words) else 2)
            counts.append(max(seen[word], 0))
        ids = tokenizer.encode(" ".join(words), truncation=True)
        with torch.no_grad():
            states = model(torch.tensor([ids])).hidden_states
        states = np.stack([layer[0].numpy() for layer in states])
        states = states[:, [t not in special for t in ids]]
        picked, at = [], 0
        for count in counts:
            at += count
            picked.append(states[:, min(at, states.shape[1]) - 1])
        values = np.stack(picked, 1)
        if form == "hdf5":
            file.create_dataset(str(index), values.shape, dtype="float32", data=values)
        else:
            features = [
                {"token": w, "layers": [{"index": l, "values": [round(float(v), 8) for v in values[l, i]]} for l in range(len(values))]}
                for i, w in enumerate(words)
            ]
            file.write(json.dumps({"linex_index": index, "features": features}) + "\n")
    file.close()
    print(json.dumps({"words": sum(map(len, text))}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("conllu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nissl", default="target/release/nissl")
    parser.add_argument("--json-sentences", type=int, default=200, help="NeuroX's JSON is slow: so many sentences only")
    parser.add_argument("--batch-sizes", default="16,32,64")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        kind, _, rest = args.contender.partition(":")
        if kind == "transformers":
            transformers(args.model, args.conllu, args.out, args.threads, int(rest))
        else:
            neurox(args.model, args.conllu, args.out, args.threads, rest, args.json_sentences if rest == "json" else None)
        return
    os.environ.update(OMP_NUM_THREADS=str(args.threads), HF_HUB_OFFLINE="1")
    scratch = tempfile.mkdtemp(dir=os.environ.get("TMPDIR"))
    out = os.path.join(scratch, "out")
    myself = [sys.executable, os.path.abspath(__file__), args.model, args.conllu, "--threads", str(args.threads), "--out", out]
    contenders = {
        "nissl": [args.nissl, "extract", args.model, args.conllu, "--sites", "embed,resid_post,mlp_post",
                  "--aggregate", "mean", "--out", out, "--threads", str(args.threads), "--quiet"],
    }
    for size in args.batch_sizes.split(","):
        contenders[f"transformers, sorted, batch {size}"] = [*myself, "--contender", f"transformers:{size}"]
    contenders["NeuroX's loop, HDF5"] = [*myself, "--contender", "neurox:hdf5"]
    contenders["NeuroX's loop, JSON"] = [*myself, "--contender", "neurox:json", "--json-sentences", str(args.json_sentences)]
    words = sum(map(len, sentences(args.conllu)))
    json_words = sum(map(len, sentences(args.conllu, args.json_sentences)))
    runs = {name: [] for name in contenders}
    for _ in range(args.rounds):
        for name, command in contenders.items():
            shutil.rmtree(out, ignore_errors=True)
            if name != "nissl":
                os.makedirs(out)
            runs[name].append(common.once(command))
    shutil.rmtree(scratch)
    print(f"{args.model}, {args.conllu}: {words} words, {args.threads} threads, medians of {args.rounds} rounds")
    rates = {}
    for name, results in runs.items():
        n = json_words if name.endswith("JSON") else words
        wall, cpu, rss = (sorted(r[key] for r in results)[len(results) // 2] for key in ("wall", "cpu", "rss"))
        rates[name] = (n / wall, n / cpu, rss)
        print(f"  {name:36} {n / wall:8.0f} words/s  {n / cpu:8.0f} words/CPU s  {rss:7.0f} MB peak")
    best = max((name for name in rates if name.startswith("transformers")), key=lambda name: rates[name][0])
    for name in (best, "NeuroX's loop, HDF5", "NeuroX's loop, JSON"):
        wall, cpu, rss = (rates["nissl"][i] / rates[name][i] for i in range(3))
        print(f"  nissl / {name}: {wall:.2f}x words/s, {cpu:.2f}x words/CPU s, {rss:.2f}x memory")


if __name__ == "__main__":
    main()
