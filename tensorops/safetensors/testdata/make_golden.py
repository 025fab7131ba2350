"""Writes golden.safetensors with the reference implementation (needs torch, safetensors).

With --check FILE it reads a file that this package wrote instead and compares
it with these tensors: python make_golden.py --check /tmp/ours.safetensors
(the Go test TestWriteForPython writes that file, to the path in SDR_SAFETENSORS_OUT).
"""

import pathlib
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

tensors = {
    "layer.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 4 - 0.5,
    "layer.bias": torch.tensor([1e-40, float("inf"), -0.0]),
    "steps": torch.tensor(-1234567890123),
    "half": torch.tensor([1.5, -2.0, 6e-8, 65504.0, float("-inf"), 6.1e-5], dtype=torch.float16),
    "brain": torch.tensor([1.5, -3.0, 1e30], dtype=torch.bfloat16),
    "empty": torch.zeros(0, 4),
    'schräg "quoted"': torch.tensor([7.0]),
}
metadata = {"format": "pt", "note": 'a "b" ü'}

if len(sys.argv) == 3 and sys.argv[1] == "--check":
    with safe_open(sys.argv[2], "pt") as f:
        assert f.metadata() == metadata, f.metadata()
        assert set(f.keys()) == set(tensors), f.keys()
        for name, want in tensors.items():
            got = f.get_tensor(name)
            want = want if want.dtype == torch.int64 else want.float()
            assert got.dtype == want.dtype and got.shape == want.shape and torch.equal(got, want), name
    print("equal")
else:
    save_file(tensors, pathlib.Path(__file__).with_name("golden.safetensors"), metadata)
