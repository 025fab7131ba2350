"""Loads an exported model into torchvision and compares its features with those of `sdr embed`.

    sdr export --run RUN --subnet unified --out MODEL.safetensors
    python check_torchvision.py MODEL.safetensors [IMAGES] [--sdr bin/sdr]

IMAGES is a folder of images whose size is the model's input size; without it, images of noise are made.
Needs torch, torchvision, safetensors, pillow and pyarrow.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow.parquet as pq
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file


class Narrow(torchvision.models.ResNet):
    """torchvision's ResNet with a first stage of any width, not only 64."""

    def __init__(self, block, layers, width):
        super().__init__(block, layers)
        self.inplanes = width
        self.conv1 = torch.nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(width)
        self.layer1 = self._make_layer(block, width, layers[0])
        self.layer2 = self._make_layer(block, 2 * width, layers[1], stride=2)
        self.layer3 = self._make_layer(block, 4 * width, layers[2], stride=2)
        self.layer4 = self._make_layer(block, 8 * width, layers[3], stride=2)


def build(backbone):
    width = backbone["width"]
    if backbone["arch"] == "mobilenet_v2":
        model = torchvision.models.mobilenet_v2(width_mult=width / 64)
        if backbone["stem"] == "small":
            model.features[0][0].stride = (1, 1)
        model.classifier = torch.nn.Identity()
        return model
    if width == 64:
        model = getattr(torchvision.models, backbone["arch"])()
    elif backbone["arch"] == "resnet18":
        model = Narrow(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2], width)
    else:
        model = Narrow(torchvision.models.resnet.Bottleneck, [3, 4, 6, 3], width)
    if backbone["stem"] == "small":
        model.conv1 = torch.nn.Conv2d(3, width, 3, 1, 1, bias=False)
        model.maxpool = torch.nn.Identity()
    model.fc = torch.nn.Identity()
    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("images", nargs="?")
    parser.add_argument("--sdr", default="bin/sdr")
    args = parser.parse_args()

    with safe_open(args.model, "pt") as f:
        meta = f.metadata()
    spec = json.loads(meta["input"])
    model = build(json.loads(meta["backbone"]))
    model.load_state_dict(load_file(args.model), strict=True)
    model.eval()

    with tempfile.TemporaryDirectory() as tmp:
        out = pathlib.Path(tmp) / "features.parquet"
        images = args.images or pathlib.Path(tmp)
        for i in range(0 if args.images else 8):
            noise = np.random.default_rng(i).integers(0, 256, (spec["size"], spec["size"], 3), np.uint8)
            Image.fromarray(noise).save(pathlib.Path(tmp) / f"{i}.png")
        subprocess.run([args.sdr, "embed", "--model", args.model, "--data", images, "--out", out], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        table = pq.read_table(out).to_pylist()

        mean, std = (torch.tensor(spec[k]).view(3, 1, 1) for k in ("mean", "std"))
        worst = 0.0
        for row in table:
            image = Image.open(row["source"]).convert("RGB")
            if image.size != (spec["size"], spec["size"]):
                sys.exit(f"{row['source']} is {image.size}, the model wants {spec['size']} px")
            x = (torchvision.transforms.functional.to_tensor(image) - mean) / std
            with torch.no_grad():
                want = model(x[None])[0].numpy()
            worst = max(worst, float(np.abs(want - np.array(row["feature"])).max() / np.abs(want).max()))
    print(f"{len(table)} images: features differ by at most {worst:.2e} of the largest")
    sys.exit(worst > 1e-4)


main()
