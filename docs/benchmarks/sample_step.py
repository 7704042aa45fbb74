"""Pictures per second of one network call in PyTorch, noise drawn and result on the host, as `meanflow bench-sample` times it.

    python sample_step.py WEIGHTS BATCH [--calls N] [--compile] [--device cuda]
"""

import argparse
import json
import time

import torch

from train_step import read


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weights")
    parser.add_argument("batch", type=int)
    parser.add_argument("--calls", type=int, default=9)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    net, config = read(args.weights, args.device)
    net = torch.compile(net) if args.compile else net
    shape = (args.batch, config["channels"], config["image_size"], config["image_size"])
    r, t = torch.zeros(args.batch, device=args.device), torch.ones(args.batch, device=args.device)
    speeds = []
    for call in range(args.calls + 3):
        began = time.perf_counter()
        e = torch.randn(shape, device=args.device)
        (e - net(e, r, t, None)).cpu()
        if call >= 3:
            speeds.append(args.batch / (time.perf_counter() - began))
    print(json.dumps({"images_per_second": sorted(speeds)[len(speeds) // 2]}))


main()
