"""What methods hold in memory over a store that is much larger than it: the peak of a process for each method.

    python benches/memory.py mpnet.nissl --budget 256                        # the store as it is
    python benches/memory.py mpnet.nissl --budget 2048 --wide 50             # its sites again and again, 50 GB

The wide store is made beside the other: more layers, whose files are hard links to those that are there, so that it takes
no room on the disk. Needs `cargo build --release -p nissl-tasks --examples`.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).parent.parent
METHODS = (
    "probeless mean-select iou sensitivity average-precision top-words top-contexts variance-reduction lookup tx-ray "
    "compositional linear-probe sparse-probe gaussian-probe"
)


def widened(store, gigabytes):
    """A store of so many GB, by sites that share their files."""
    wide = store.with_name(store.stem + "-wide.nissl")
    shutil.rmtree(wide, ignore_errors=True)
    manifest = json.loads((store / "nissl.json").read_text())
    sites = manifest["run"]["sites"]
    size = {"float16": 2, "bfloat16": 2, "float32": 4}[manifest["run"]["dtype"]]
    bytes_each = manifest["n_rows"] * sites[0]["width"] * size
    shutil.copytree(store, wide, ignore=shutil.ignore_patterns("acts"))
    n_sites = max(1, round(gigabytes * 1e9 / bytes_each))
    kind = sites[0]["point"].split(".", 2)[2]
    for layer in range(n_sites):
        source = store / "acts" / sites[layer % len(sites)]["point"]
        folder = wide / "acts" / f"blocks.{layer}.{kind}"
        folder.mkdir(parents=True)
        for file in source.iterdir():
            os.link(file, folder / file.name)
    manifest["run"]["sites"] = [{**sites[0], "point": f"blocks.{layer}.{kind}"} for layer in range(n_sites)]
    (wide / "nissl.json").write_text(json.dumps(manifest))
    return wide


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=pathlib.Path)
    parser.add_argument("--by", default="upos")
    parser.add_argument("--budget", type=int, default=2048, help="MB")
    parser.add_argument("--wide", type=float, default=0, help="GB")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--limit", type=int, default=600, help="seconds a method")
    args = parser.parse_args()
    store = widened(args.store, args.wide) if args.wide else args.store
    binary = ROOT / "target/release/examples/store_methods"
    for method in args.methods.replace(",", " ").split():
        command = [binary, store, args.by, "--memory", args.budget, "--only", method]
        try:
            run = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=args.limit)
        except subprocess.TimeoutExpired:
            print(f"{method}: not done in {args.limit} s", flush=True)
            continue
        if run.returncode:
            print(f"{method}: {run.stderr.strip()}", flush=True)
            continue
        for line in map(json.loads, run.stdout.splitlines()):
            print(f"{method}: peak {line['peak_mb']:.0f} MB, {line['seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
