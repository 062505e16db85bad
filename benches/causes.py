"""What finding causes and groups costs beside its peers, in one run.

    cargo build --release -p nissl-cli
    python benches/causes.py [--store mpnet.nissl | --random 25000x9216] [--only gradients,ablation,correlation,clustering]

gradients    integrated gradients of all MLP layers of a random 12 x 768 masked LM, 20 midpoints, against the same sums
             in PyTorch at the best of several batch sizes (hooks scale the layer; the batch holds points of the path)
ablation     every unit of one MLP layer ablated by itself, against a PyTorch forward pass a unit, one by one
correlation  highest correlations of the store's neurons with those of the same store, as a share of sgemm's rate
clustering   average linkage of the store's neurons at 0.3, against numpy's corrcoef with scipy's linkage: the whole, and the
             joins alone, by when the command says that its stages are over

The last two are of the residual stream of a store, such as nissl extract MPNET en_ewt-ud-test.conllu --dtype f32 makes
(25,094 x 9,216), or of random neurons in twelve layers, groups of which are correlated.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).parent.parent
NISSL = ROOT / "target/release/nissl"
TEXT = "the old man sees the dog and the cat likes the old house of the"


def nissl(*flags):
    """Seconds of a command, and its report."""
    start = time.perf_counter()
    done = subprocess.run([str(NISSL), *map(str, flags), "-q", "--json"], check=True, capture_output=True, text=True)
    return time.perf_counter() - start, json.loads(done.stdout)


def masked_lm(folder):
    """A random BERT of 12 x 768 with its head, whose tokens are words."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig()).eval()
    model.save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(TEXT.split())), "king"]
    words += [f"word{idx}" for idx in range(model.config.vocab_size - len(words))]
    pathlib.Path(folder, "vocab.txt").write_text("\n".join(words) + "\n")
    return model, [words.index(word) for word in ["[CLS]", *TEXT.split(), "[MASK]", "[SEP]"]], words.index("king")


def torch_gradients(model, ids, target, batch, steps=20):
    """Seconds of the sums of one prompt, points of the path in batches."""
    import torch

    place = len(ids) - 2
    start = time.perf_counter()
    layers = [layer.intermediate for layer in model.bert.encoder.layer]
    seen = {}
    hooks = [layer.register_forward_hook(lambda m, i, o, k=k: seen.__setitem__(k, o)) for k, layer in enumerate(layers)]
    with torch.no_grad():
        model(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    for k, layer in enumerate(layers):
        own = seen[k][0, place]
        total = torch.zeros_like(own)
        for first in range(0, steps, batch):
            share = (torch.arange(first, min(first + batch, steps)) + 0.5) / steps
            scaled = (share[:, None] * own).requires_grad_()

            def scale(module, inputs, output):
                output = output.clone()
                output[:, place] = scaled
                return output

            hook = layer.register_forward_hook(scale)
            logits = model(torch.tensor([ids] * len(share))).logits[:, place]
            hook.remove()
            torch.softmax(logits, -1)[:, target].sum().backward()
            total += scaled.grad.sum(0)
        (own * total / steps).sum().item()
    return time.perf_counter() - start


class Bert:
    """The random model, a prompt, and the seconds that nissl takes to begin."""

    def __init__(self, folder):
        self.folder = folder
        self.model, self.ids, self.target = masked_lm(folder)
        self.model.requires_grad_(False)
        self.load = min(self.seconds("--method", "gradient-activation", "--set", "layers=[11]") for _ in range(3))

    def seconds(self, *flags):
        return nissl("attribute", self.folder, "--prompt", TEXT + " [MASK]", "--target", "king", *flags)[0]


def gradients(bert, repeats):
    ours, theirs = [], {}
    for _ in range(repeats):
        flags = ("--method", "integrated-gradients", "--set", "refine=0")
        ours.append(bert.seconds(*flags) - bert.load)
        for batch in (1, 4, 10, 20):
            theirs.setdefault(batch, []).append(torch_gradients(bert.model, bert.ids, bert.target, batch))
    best = min(theirs, key=lambda batch: np.median(theirs[batch]))
    own, peer = np.median(ours), np.median(theirs[best])
    print(f"gradients: ours {own:.2f} s (loading taken off), PyTorch {peer:.2f} s at batch {best}: {peer / own:.2f}x")


def ablation(bert, repeats):
    import torch

    with torch.no_grad():
        ids = torch.tensor([bert.ids])
        bert.model(ids)
        start = time.perf_counter()
        for _ in range(20):
            bert.model(ids)
        forward = (time.perf_counter() - start) / 20
    for layer in (3, 6, 9, 11):
        flags = ("--method", "ablation", "--set", f"layers=[{layer}]")
        own = np.median([bert.seconds(*flags) - bert.load for _ in range(repeats)])
        print(f"ablation, layer {layer}: ours {own:.2f} s, one by one {3072 * forward:.2f} s: {3072 * forward / own:.1f}x")


def random_neurons(rows, neurons):
    """Neurons in twelve layers, [12, rows, width]: groups of up to 12 that share, more or less, what they do."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, neurons)).astype(np.float32)
    for members in np.split(rng.permutation(neurons), np.cumsum(rng.integers(1, 13, neurons))):
        share = np.float32(rng.uniform(0.5, 0.98))
        x[:, members] = share * rng.normal(size=(rows, 1)).astype(np.float32) + np.sqrt(1 - share**2) * x[:, members]
    return x.reshape(rows, 12, -1).transpose(1, 0, 2)


def store_of(x, folder):
    """A store of activations, [layers, rows, width]."""
    import h5py

    words = 25
    with h5py.File(f"{folder}/own.hdf5", "w") as file:
        index = {}
        for place, first in enumerate(range(0, x.shape[1], words)):
            own = x[:, first : first + words]
            # The first layer of such a file is the embedding's.
            file[str(place)] = np.concatenate([np.zeros_like(own[:1]), own])
            index[" ".join(f"{place}.{word}" for word in range(own.shape[1]))] = str(place)
        file.create_dataset("sentence_to_index", (1,), dtype=h5py.string_dtype(encoding="utf-8"))[0] = json.dumps(index)
    nissl("convert", f"{folder}/own.hdf5", f"{folder}/own.nissl")
    pathlib.Path(folder, "own.hdf5").unlink()
    return pathlib.Path(folder, "own.nissl")


def correlation(store, repeats):
    flags = ("compare", store, store, "--baseline", "none", "--sites", "resid_post", "--memory", "4GB")
    found = [nissl(*flags) for _ in range(repeats)]
    seconds, report = np.median([seconds for seconds, _ in found]), found[0][1]
    neurons, rows = sum(layer["neurons"] for layer in report["layers"]), report["store"]["rows"]
    a = np.random.default_rng(0).normal(size=(4096, 4096)).astype(np.float32)
    rates = []
    for _ in range(4):
        start = time.perf_counter()
        a @ a
        rates.append(2 * 4096**3 / (time.perf_counter() - start))
    own, rate = 2 * rows * neurons**2 / seconds, max(rates)
    print(f"correlation: {neurons} x {neurons} over {rows} rows in {seconds:.1f} s: {own / 1e9:.0f} of {rate / 1e9:.0f} GFLOP/s, {own / rate:.0%}")


def clustering(store, repeats):
    import h5py
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    command = [NISSL, "cluster", store, "--sites", "resid_post", "--threshold", "0.3", "--memory", "4GB", "--json"]
    found = []
    for _ in range(repeats):
        ends, start = {}, time.perf_counter()
        child = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for line in child.stderr:
            # A stage is told when it is over.
            ends[line.split(":")[0]] = time.perf_counter()
        report = json.loads(child.communicate()[0])
        whole, joined = time.perf_counter() - start, ends["join groups"] - ends["correlations"]
        found.append((whole, joined, report["clusters"]))
    whole, joined, clusters = sorted(found)[len(found) // 2]
    with tempfile.TemporaryDirectory() as folder:
        nissl("convert", store, f"{folder}/x.hdf5", "--sites", "resid_post")
        with h5py.File(f"{folder}/x.hdf5") as file:
            x = np.concatenate([file[key][:] for key in sorted((k for k in file if k.isdigit()), key=int)], 1)
    x = x.transpose(0, 2, 1).reshape(-1, x.shape[1])
    start = time.perf_counter()
    with np.errstate(all="ignore"):
        distances = np.corrcoef(x, dtype=np.float32)
    # A neuron of one value is at distance 1 from all.
    distances = 1 - np.abs(np.nan_to_num(distances, nan=0, posinf=0, neginf=0))
    np.fill_diagonal(distances, 0)
    near = squareform(distances, checks=False)
    middle = time.perf_counter()
    labels = fcluster(linkage(near, "average"), 0.3, "distance")
    peer, linked = time.perf_counter() - start, time.perf_counter() - middle
    print(
        f"clustering: ours {whole:.1f} s ({clusters} clusters), numpy and scipy {peer:.1f} s ({labels.max()} clusters): "
        f"{peer / whole:.1f}x; joins ours {joined:.2f} s, scipy's linkage {linked:.2f} s: {linked / joined:.1f}x"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=pathlib.Path)
    parser.add_argument("--random", metavar="ROWSxNEURONS")
    parser.add_argument("--only", default="gradients,ablation,correlation,clustering")
    parser.add_argument("--nissl", type=pathlib.Path, default=NISSL)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    NISSL = args.nissl
    wanted = args.only.split(",")
    with tempfile.TemporaryDirectory() as folder:
        if {"gradients", "ablation"} & set(wanted):
            bert = Bert(pathlib.Path(folder, "bert"))
            for name in ("gradients", "ablation"):
                if name in wanted:
                    globals()[name](bert, args.repeats)
        store = args.store
        if args.random:
            store = store_of(random_neurons(*map(int, args.random.split("x"))), folder)
        for name in ("correlation", "clustering"):
            if store and name in wanted:
                globals()[name](store, args.repeats)
