"""Ratios of a training step here and in PyTorch, in one run: each program in turn, several rounds, the median ratio.

    python train.py [--device cpu|cuda] [--rounds 5] [--configs browser-s.toml ...]

prints a table, and writes it to `train-DEVICE.md` beside this file with the date, the machine and the command.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from datetime import date
from pathlib import Path

HERE = Path(__file__).parent
PROGRAM = HERE.parents[1] / "target" / "release" / "meanflow"


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr[-2000:]}")
    return done.stdout


def last_line(command):
    return json.loads(run(command).strip().splitlines()[-1])


def peak(device):
    """Floating-point operations a second of a large product of matrices in single precision, by PyTorch."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = True
    a, b = (torch.randn(2048 if device == "cpu" else 8192, 2048, device=device) for _ in range(2))
    sync = torch.cuda.synchronize if device == "cuda" else lambda: None
    times = []
    for _ in range(20):
        sync()
        started = time.perf_counter()
        a @ b.T
        sync()
        times.append(time.perf_counter() - started)
    return 2 * len(a) * len(b) * 2048 / min(times)


def machine(device):
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    models = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return f"{models[0]}, {len(models)} cores" if models else platform.processor()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--configs", nargs="+", type=Path, default=sorted(HERE.glob("*.toml")))
    args = parser.parse_args()
    import torch

    lines = []
    for path in args.configs:
        config = tomllib.loads(path.read_text())
        batch, share = config["train"]["batch_size"], config["times"]["interval_probability"]
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "weights.safetensors"
            ours = [PROGRAM, "bench-train", path, "--json", "--device", args.device, "--steps", args.steps]
            theirs = [sys.executable, HERE / "train_step.py", weights, batch]
            rest = ["--steps", args.steps, "--device", args.device]
            kinds = {
                "ours": [*ours, "--weights", weights],
                "Flow Matching, ours": [*ours, "--share", 0],
                "eager": [*theirs, share, *rest],
                "eager, split": [*theirs, share, *rest, "--split"],
                "compiled": [*theirs, share, *rest, "--compile"],
                "compiled, split": [*theirs, share, *rest, "--compile", "--split"],
            }
            rounds = [{name: last_line(command) for name, command in kinds.items()} for _ in range(args.rounds)]
            most = peak(args.device)
        speed = lambda name: statistics.median(r[name]["images_per_second"] for r in rounds)
        def ratio(name, to="ours"):
            ratios = [r[to]["images_per_second"] / r[name]["images_per_second"] for r in rounds]
            return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        memory = lambda name: f"{rounds[-1][name]['peak_memory'] / 1e9:.2f}"
        operations = rounds[-1]["eager, split"]["operations"] / batch
        cells = [config["name"], batch, f"{speed('ours'):.2f}", f"{speed('ours') * operations / most:.0%}"]
        cells += [ratio(name) for name in ("eager", "eager, split", "compiled", "compiled, split")]
        cells += [ratio("Flow Matching, ours"), f"{memory('ours')} / {memory('eager')} / {memory('compiled')}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
        print(lines[-1], flush=True)
        write(args, lines)


def write(args, lines):
    import torch

    names = ["network", "batch", "img/s, ours", "of the peak", "to eager", "to eager, split", "to compiled", "to compiled, split"]
    names += ["to ours without the JVP", "peak memory, GB: ours / eager / compiled"]
    table = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names), *lines]
    command = f"make bench-train{' DEVICE=' + args.device if args.device != 'cpu' else ''}"
    about = f"{date.today()}, {machine(args.device)}, PyTorch {torch.__version__}, {args.rounds} rounds of {args.steps} steps: `{command}`."
    share = "Of the peak: the operations of a step's products, against those of one large product of matrices by PyTorch in the same time."
    (HERE / f"train-{args.device}.md").write_text("\n".join([about, "", share, "", *table, ""]))


if __name__ == "__main__":
    main()
