"""Ratios of native sampling here and in PyTorch, in one run; as train.py, and written to `sample-DEVICE.md`.

    python sample.py [--device cpu|cuda] [--rounds 5]
"""

import argparse
import json
import statistics
import sys
import tempfile
from datetime import date
from pathlib import Path

import torch

from train import HERE, PROGRAM, last_line, machine, run

NET = dict(image_size=32, channels=4, patch=4, width=192, depth=6, heads=6, mlp_ratio=4, classes=0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        run([PROGRAM, "random-weights", "--net", json.dumps(NET), "--out", weights])
        for batch in (1, 256):
            ours = [PROGRAM, "bench-sample", weights, "--batch", batch, "--device", args.device]
            theirs = [sys.executable, HERE / "sample_step.py", weights, batch, "--device", args.device]
            kinds = {"ours": ours, "eager": theirs, "compiled": [*theirs, "--compile"]}
            rounds = [{k: last_line(c)["images_per_second"] for k, c in kinds.items()} for _ in range(args.rounds)]
            cells = [batch] + [f"{statistics.median(r[k] for r in rounds):.1f}" for k in kinds]
            for k in ("eager", "compiled"):
                ratios = [r["ours"] / r[k] for r in rounds]
                cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})")
            lines.append("| " + " | ".join(map(str, cells)) + " |")
            print(lines[-1], flush=True)
    names = ["batch", "img/s, ours", "eager", "compiled", "ours to eager", "ours to compiled"]
    table = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names), *lines]
    command = f"make bench-sample{' DEVICE=' + args.device if args.device != 'cpu' else ''}"
    about = f"{date.today()}, {machine(args.device)}, PyTorch {torch.__version__}, {args.rounds} rounds: `{command}`."
    network = "A DiT of 6 blocks, width 192, 64 tokens, one network call a picture, random weights."
    (HERE / f"sample-{args.device}.md").write_text("\n".join([about, "", network, "", *table, ""]))


main()
