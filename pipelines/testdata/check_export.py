"""Exports models to every format, opens each with its own program, and compares the features with those of `sdr embed` or,
of a classifier of `sdr finetune`, the probabilities with those of `sdr predict`.

    python check_export.py [MODEL.safetensors ...] [--sdr bin/sdr]

Without a model, random ones are made, of several architectures, stems and widths. Of a model that has a width other than
64, torchvision needs the class Narrow below.
Needs torch, torchvision, timm, onnx, onnxruntime, huggingface_hub, safetensors, pillow and pyarrow.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet as pq
import timm
import torch
import torchvision
from huggingface_hub import ModelCard
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

MODELS = [  # arch, stem, width, and the number of classes of a classifier
    ("resnet18", "small", 16), ("resnet18", "imagenet", 64), ("resnet18", "small", 64), ("resnet18", "imagenet", 6),
    ("resnet18", "small", 5), ("resnet34", "small", 8), ("resnet50", "small", 16), ("resnet50", "imagenet", 64), ("resnet101", "imagenet", 8),
    ("mobilenet_v2", "small", 16), ("mobilenet_v2", "small", 48), ("mobilenet_v2", "imagenet", 64),
    ("resnet18", "imagenet", 64, 9), ("resnet50", "small", 8, 3), ("mobilenet_v2", "small", 32, 5),
]
MOBILE = {32: "mobilenetv2_050", 48: "mobilenetv2_075", 64: "mobilenetv2_100"}  # timm's, by width
TOLERANCE = 1e-4  # of the largest feature


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


def build(arch, stem, width, classes=0):
    """torchvision's model for a backbone."""
    if arch == "mobilenet_v2":
        model = torchvision.models.mobilenet_v2(width_mult=width / 64, num_classes=classes)
        if stem == "small":
            model.features[0][0].stride = (1, 1)
        if not classes:
            model.classifier = torch.nn.Identity()
        return model
    basic, bottleneck = torchvision.models.resnet.BasicBlock, torchvision.models.resnet.Bottleneck
    block, layers = {
        "resnet18": (basic, [2, 2, 2, 2]), "resnet34": (basic, [3, 4, 6, 3]),
        "resnet50": (bottleneck, [3, 4, 6, 3]), "resnet101": (bottleneck, [3, 4, 23, 3]),
    }[arch]
    model = getattr(torchvision.models, arch)() if width == 64 else Narrow(block, layers, width)
    if stem == "small":
        model.conv1 = torch.nn.Conv2d(3, width, 3, 1, 1, bias=False)
        model.maxpool = torch.nn.Identity()
    model.fc = torch.nn.Linear(model.fc.in_features * width // 64, classes) if classes else torch.nn.Identity()
    return model


def make(path, arch, stem, width, classes=0):
    """Writes a model file with random weights and BatchNorm statistics."""
    torch.manual_seed(width)
    model = build(arch, stem, width, classes)
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(m.weight, 0.5, 1), torch.nn.init.normal_(m.bias, 0, 0.2)
            m.running_mean.normal_(0, 0.2), m.running_var.uniform_(0.5, 1.5)
    size = 32 if stem == "small" else 64
    save_file(model.state_dict(), path, {
        "backbone": json.dumps({"arch": arch, "stem": stem, "width": width}), "heads": json.dumps({"classes": classes}),
        "classes": json.dumps([f"class {i}" for i in range(classes)]),
        "input": json.dumps({"size": size, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}),
    })


class Checker:
    def __init__(self, sdr, path, tmp):
        self.sdr, self.path, self.tmp, self.bad = sdr, path, tmp, False
        with safe_open(path, "pt") as f:
            meta = f.metadata()
        self.backbone, self.input = json.loads(meta["backbone"]), json.loads(meta["input"])
        self.classes = json.loads(meta.get("classes", "[]"))
        self.output = "logits" if self.classes else "features"
        self.exact = self.pictures("exact", [(self.input["size"],) * 2] * 8)
        self.other = self.pictures("other", [(400, 300), (71, 97), (64, 50), (33, 200), (20, 31), (97, 64)])

    def pictures(self, name, sizes):
        """Makes smooth images and returns their paths and the features that sdr embed computes, or predict's probabilities."""
        folder = self.tmp / name
        folder.mkdir()
        for i, size in enumerate(sizes):
            coarse = np.random.default_rng(i).integers(0, 256, (9, 9, 3), np.uint8)
            Image.fromarray(coarse).resize(size, Image.BICUBIC).save(folder / f"{i}.png")
        self.run("predict" if self.classes else "embed", "--model", self.path, "--data", folder, "--out", f"{folder}.parquet")
        rows = pq.read_table(f"{folder}.parquet").to_pylist()
        return [r["source"] for r in rows], np.array([r["probabilities" if self.classes else "feature"] for r in rows])

    def run(self, *args):
        p = subprocess.run([self.sdr, *map(str, args)], capture_output=True, text=True)
        if p.returncode:
            sys.exit(p.stderr)

    def export(self, name, fmt, *more):
        out = self.tmp / name
        self.run("export", "--model", self.path, "--format", fmt, "--out", out, *more)
        return out

    def compare(self, name, got, want, tolerance=TOLERANCE):
        got = torch.as_tensor(np.asarray(got))
        if self.classes:
            got = got.softmax(1)
        worst = np.abs(got.numpy() - want).max() / np.abs(want).max()
        ok = worst <= tolerance
        self.bad |= not ok
        print(f"  {name}: {'probabilities' if self.classes else 'features'} differ by at most {worst:.1e} of the largest{'' if ok else ', which is too much'}")

    def normalized(self, paths):
        mean, std = (torch.tensor(self.input[k]).view(3, 1, 1) for k in ("mean", "std"))
        images = [torchvision.transforms.functional.to_tensor(Image.open(p).convert("RGB")) for p in paths]
        return torch.stack([(x - mean) / std for x in images])

    @torch.no_grad()
    def check(self):
        b = self.backbone
        print(b["arch"], b["stem"], b["width"], *([f"{len(self.classes)} classes"] if self.classes else []))
        paths, want = self.exact
        images = self.normalized(paths)

        out = self.export("t.safetensors", "torchvision")
        model = build(**b, classes=len(self.classes))
        model.load_state_dict(load_file(out), strict=True)
        self.compare("torchvision", model.eval()(images), want)

        self.onnx(paths, images, want)
        if b["width"] % 2 or b["arch"] == "mobilenet_v2" and b["width"] not in MOBILE:
            p = subprocess.run([self.sdr, "export", "--model", self.path, "--format", "timm", "--out", self.tmp / "no.safetensors"], capture_output=True, text=True)
            self.bad |= p.returncode != 2
            print("  timm:", p.stderr.strip())
            return
        self.timm(images, want)
        self.hub(paths, want)

    def onnx(self, paths, images, want):
        out = self.export("plain.onnx", "onnx")
        onnx.checker.check_model(onnx.load(out), full_check=True)
        session = onnxruntime.InferenceSession(out)
        for batch in (1, len(paths)):
            self.compare(f"onnxruntime, batches of {batch}", np.concatenate([session.run([self.output], {"input": x.numpy()})[0] for x in images.split(batch)]), want)
        meta = session.get_modelmeta().custom_metadata_map
        self.bad |= json.loads(meta["input"]) != self.input or json.loads(meta["backbone"]) != self.backbone

        out = self.export("prepared.onnx", "onnx", "--preprocess")
        onnx.checker.check_model(onnx.load(out), full_check=True)
        session = onnxruntime.InferenceSession(out)
        features = lambda p: session.run([self.output], {"input": np.asarray(Image.open(p).convert("RGB"))[None]})[0][0]
        self.compare("onnxruntime, uint8 images", np.stack([features(p) for p in paths]), want)
        paths, want = self.other
        self.compare("onnxruntime, uint8 images of other sizes", np.stack([features(p) for p in paths]), want, 1e-3)

    def timm(self, images, want):
        b, w = self.backbone, self.backbone["width"]
        weights = load_file(self.export("timm.safetensors", "timm"))
        mobile = b["arch"] == "mobilenet_v2"  # whose features_only leaves out the last convolution
        arguments = {} if w == 64 or mobile else {"channels": [w, 2 * w, 4 * w, 8 * w], "stem_type": "deep", "stem_width": w // 2}
        for options in ({"num_classes": len(self.classes)},) if self.classes or mobile else ({"num_classes": 0}, {"features_only": True}):
            model = timm.create_model(MOBILE[w] if mobile else b["arch"], **options, **arguments)
            if mobile:
                model.conv_stem.stride = (1, 1) if b["stem"] == "small" else (2, 2)
            elif b["stem"] == "small":
                model.conv1, model.maxpool = torch.nn.Conv2d(3, w, 3, 1, 1, bias=False), torch.nn.Identity()
            elif w != 64:
                model.conv1 = torch.nn.Conv2d(3, w, 7, 2, 3, bias=False)
            model.load_state_dict(weights, strict=True)
            got = model.eval()(images)
            if "features_only" in options:
                assert [m.shape[1] for m in got[:2]] == [w, want.shape[1] // 8]
                got = got[-1].mean((2, 3))
            self.compare(f"timm, {options}", got, want)

    def hub(self, paths, want):
        """Runs the lines of the card."""
        out = self.export("hub", "hub", "--license", "apache-2.0")
        card = ModelCard.load(out / "README.md")
        self.bad |= card.data.license != "apache-2.0" or card.data.library_name != "timm"
        code = re.search(r"```python\n(.*?)```", card.text, re.S).group(1).replace("PATH", str(out))
        features = []
        for p in paths:
            scope = {"image": Image.open(p).convert("RGB")}
            exec(code, scope)
            features.append(scope[self.output][0].numpy())
        self.compare("the card's lines", np.stack(features), want)


def main():
    torch.backends.mkldnn.enabled = False  # its float32 convolutions with few channels write out of bounds (torch 2.15, AVX2)
    torch.set_num_threads(2)
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*")
    parser.add_argument("--sdr", default="bin/sdr")
    args = parser.parse_args()
    bad = False
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        if not args.models:
            for net in MODELS:
                args.models.append(tmp / f"{'-'.join(map(str, net))}.safetensors")
                make(args.models[-1], *net)
        for i, path in enumerate(args.models):
            (tmp / str(i)).mkdir()
            checker = Checker(args.sdr, path, tmp / str(i))
            checker.check()
            bad |= checker.bad
    sys.exit("something differs" if bad else 0)


main()
