"""The authors' JAX checkpoints (Gsunshine/meanflow, Lyy-iiis/imeanflow and pMF) as safetensors for `meanflow import`.

    pip install numpy safetensors flax orbax-checkpoint
    python jax_to_safetensors.py CHECKPOINT OUT.safetensors [--tree ema_params]

CHECKPOINT is a folder of Orbax or a msgpack file of Flax. Its parameter tree becomes tensors with the names and layouts of
PyTorch: `blocks/layers_0/attn/qkv/_flax_linear/kernel` of [in, out] becomes `blocks.0.attn.qkv.weight` of [out, in].

Pixel MeanFlow keeps several averages in one tree; their names begin with their half-lives, and
`meanflow import --prefix 500.` chooses one. A class table of [1, classes + 1, width], as pixel MeanFlow has it, stays
one: `meanflow import` reads both.

It was tried on small networks that the authors' modules of improved and pixel MeanFlow made, saved by Flax (msgpack and
Orbax): every name and layout is that of PyTorch, and both velocities agree with the PyTorch network of
tests/fixtures/networks.py to 2e-7. No released checkpoint was at hand.
"""

import argparse
import re
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


def flatten(tree, path=()):
    for key, value in tree.items():
        if hasattr(value, "items"):
            yield from flatten(value, (*path, str(key)))
        else:
            yield (*path, str(key)), np.asarray(value)


def to_pytorch(path, value):
    """The name and the layout that PyTorch has for a parameter of Flax."""
    parts = [re.sub(r"^layers_(\d+)$", r"\1", part) for part in path]
    # Modules in a list, as improved and pixel MeanFlow have their blocks: `shared_blocks_3`.
    parts = [re.sub(r"^(shared_blocks|[uv]_heads)_(\d+)$", r"\1.\2", part) for part in parts]
    parts = [part for part in parts if part not in ("params", "net", "_flax_linear", "_flax_embedding", "_flax_conv")]
    leaf = parts.pop()
    if leaf == "kernel":
        # Linear [in, out] → [out, in]; convolution [row, column, in, out] → [out, in, row, column].
        value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
    leaf = {"kernel": "weight", "embedding": "weight", "scale": "weight"}.get(leaf, leaf)
    return ".".join([*parts, leaf]), np.ascontiguousarray(value, dtype=np.float32)


def restore(path):
    if path.is_dir():
        import orbax.checkpoint

        return orbax.checkpoint.PyTreeCheckpointer().restore(path.resolve())
    from flax.serialization import msgpack_restore

    return msgpack_restore(path.read_bytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tree", default="ema_params", help="which tree of the checkpoint; `params` are the live weights")
    arguments = parser.parse_args()
    state = restore(arguments.checkpoint)
    if arguments.tree not in state:
        parser.error(f"{arguments.checkpoint} has no tree `{arguments.tree}`; there are {', '.join(map(str, state))}")
    tensors = dict(to_pytorch(path, value) for path, value in flatten(state[arguments.tree]))
    save_file(tensors, arguments.out)
    print(f"{arguments.out}: {len(tensors)} tensors, {sum(t.size for t in tensors.values()) / 1e6:.1f} M numbers")


if __name__ == "__main__":
    main()
