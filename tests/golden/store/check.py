"""Reads the stores in this folder with zarr-python and pyarrow alone, as the README of nissl-store shows.

The stores are written by `NISSL_UPDATE_GOLDEN=1 cargo test -p nissl-store golden`. Run this after that, with
zarr==3.1.6, pyarrow==26.0.1, h5py==3.16.0: `python check.py`. It runs the Python of the README itself.
"""

import json
import pathlib
import re

import numpy
import pyarrow.dataset
import zarr

HERE = pathlib.Path(__file__).parent
README = (HERE / "../../../crates/nissl-store/README.md").read_text()
SITES = {"blocks.1.mlp.hook_post": 33, "hook_embed": 20, "blocks.0.hook_resid_post": 7}
N_SENTENCES = 30


def want(site, n_rows, width):
    """The value of a neuron in a row, as tests/it/sample.rs has it."""
    row, unit = numpy.arange(n_rows)[:, None], numpy.arange(width)[None, :]
    return ((row * 31 + unit * 7 + site * 13) % 251 - 125).astype("float32")


def snippets(store):
    """The README's Python, for this store and a neuron that it has."""
    code = re.findall(r"```python\n(.*?)```", README, re.S)
    code = [c.replace("acts.nissl", str(store)).replace("blocks.3", "blocks.1").replace("1207", "32") for c in code]
    return code


def check(store, dtype):
    manifest = json.loads((store / "nissl.json").read_text())
    n_rows = manifest["n_rows"]
    assert manifest["complete"] and manifest["format"] == "nissl-store"
    readme, bfloat16 = snippets(store)
    scope = {}
    if dtype == "float16":
        exec(readme, scope)
        assert scope["block"].shape == (n_rows, 33)
        for site, (name, width) in enumerate(SITES.items()):
            got = scope["acts"][name]
            assert got.shape == (n_rows, width) and got.dtype == dtype
            assert (got[:].astype("float32") == want(site, n_rows, width)).all(), name
            assert (got[60:70, 3:6] == want(site, n_rows, width)[60:70, 3:6]).all(), name
    else:
        exec(bfloat16, scope)
        for site, (name, width) in enumerate(SITES.items()):
            bits = scope["open_bfloat16"](str(store / "acts" / name))[:]
            assert ((bits.astype("uint32") << 16).view("float32") == want(site, n_rows, width)).all(), name
    assert (scope["neuron"] == want(0, n_rows, 33)[:, 32]).all()
    rows = pyarrow.dataset.dataset(store / "rows").to_table()
    sentences = pyarrow.dataset.dataset(store / "sentences").to_table()["text"].to_pylist()
    assert rows["row"].to_pylist() == list(range(n_rows)) and len(sentences) == N_SENTENCES
    for row in rows.to_pylist():
        text = sentences[row["sentence"]].encode()
        assert text[row["start"] : row["end"]].decode() == row["word"]
    assert set(rows["label_upos"].to_pylist()) == {"NOUN", "VERB", "DET"}
    assert set(rows["label_Number"].to_pylist()) == {"Plur", None}
    sums = {}
    for neuron in pyarrow.dataset.dataset(store / "stats").to_table().to_pylist():
        key = neuron["point"], neuron["idx"]
        sums[key] = sums.get(key, 0) + neuron["mean"] * neuron["count"]
    for site, (name, width) in enumerate(SITES.items()):
        got = [sums[name, idx] for idx in range(width)]
        assert numpy.allclose(got, want(site, n_rows, width).sum(0), atol=1e-3), name


def main():
    for dtype in ["float16", "bfloat16"]:
        check(HERE / dtype, dtype)
        print(dtype, "is read as it was written")


if __name__ == "__main__":
    main()
