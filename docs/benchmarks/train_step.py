"""One MeanFlow training step in PyTorch: forward, JVP, backward, AdamW, EMA, as `meanflow bench-train` times it in Rust.

    python train_step.py WEIGHTS BATCH SHARE [--steps N] [--compile] [--device cuda]

reads the network and its weights from a weights file, so that both sides compute the same; prints a line of JSON. With
`--split` only the rows with r < t go through the JVP, as in our own step; without it all of them do, as in the paper's
published code. With `--split` and without `--compile` it also counts the floating-point operations of a step's products.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import torch
from safetensors import safe_open
from torch.func import functional_call, jvp
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "fixtures"))
from generate import DiT  # noqa: E402  the one network in PyTorch, which the parity tests hold ours to


def read(path, device):
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["meanflow"])["net"]
        weights = {name: file.get_tensor(name).float() for name in file.keys()}
    sizes = ["image_size", "channels", "patch", "width", "depth", "heads", "classes", "mlp_ratio"]
    net = DiT(**{name: config[name] for name in sizes})
    net.load_state_dict(weights)
    net.positions = net.positions.float().to(device)
    return net.to(device), config


def residuals(net, z, v, r, t, labels):
    """Squared residuals of the MeanFlow identity, one JVP."""
    u_of = lambda z, r, t: functional_call(net, dict(net.named_parameters()), (z, r, t, labels))
    u, dudt = jvp(u_of, (z, r, t), (v, torch.zeros_like(r), torch.ones_like(t)))
    target = v - (t - r).view(-1, 1, 1, 1) * dudt
    return ((u - target.detach()) ** 2).sum(dim=(1, 2, 3))


def loss_of(net, split, x, e, r, t, labels, intervals):
    z, v = (1 - t.view(-1, 1, 1, 1)) * x + t.view(-1, 1, 1, 1) * e, e - x
    part = lambda rows: [None if a is None else a[rows] for a in (z, v, r, t, labels)]
    if not split or intervals == len(x):
        squares = residuals(net, *part(slice(None)))
    else:
        z1, v1, r1, t1, y1 = part(slice(intervals, None))
        squares = ((net(z1, r1, t1, y1) - v1) ** 2).sum(dim=(1, 2, 3))
        if intervals:
            squares = torch.cat([residuals(net, *part(slice(0, intervals))), squares])
    return (squares / (squares + 1e-3).detach()).mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("batch", type=int)
    parser.add_argument("share", type=float, help="share of the rows with r < t")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--split", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = True
    net, config = read(args.weights, args.device)
    average = [p.detach().clone() for p in net.parameters()]
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    shape = (args.batch, config["channels"], config["image_size"], config["image_size"])
    intervals = round(args.share * args.batch)
    compute = torch.compile(loss_of) if args.compile else loss_of

    def step(intervals=intervals):
        x, e = torch.rand(shape, device=args.device) * 2 - 1, torch.randn(shape, device=args.device)
        t = torch.rand(args.batch, device=args.device)
        r = torch.where(torch.arange(args.batch, device=args.device) < intervals, t * torch.rand_like(t), t)
        labels = torch.randint(config["classes"], (args.batch,), device=args.device) if config["classes"] else None
        loss = compute(net, args.split, x, e, r, t, labels, intervals)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, list(net.parameters()), 1e-4)
        return loss

    sync = torch.cuda.synchronize if args.device == "cuda" else lambda: None
    for _ in range(2):
        step()
    times = []
    for _ in range(args.steps):
        sync()
        started = time.perf_counter()
        loss = step()
        sync()
        times.append(time.perf_counter() - started)
    times.sort()
    assert torch.isfinite(loss)
    speed = {"images_per_second": args.batch / times[len(times) // 2], "slowest": args.batch / times[-1], "fastest": args.batch / times[0]}
    memory = torch.cuda.max_memory_allocated() if args.device == "cuda" else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if args.split and not args.compile:
        # It does not see into `jvp`: a tangent is one more pass forward, beside one forward and two back.
        with FlopCounterMode(display=False) as counter:
            step(intervals=0)
        speed["operations"] = counter.get_total_flops() * (1 + args.share / 3)
    print(json.dumps(speed | {"peak_memory": memory}))


if __name__ == "__main__":
    main()
