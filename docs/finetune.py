"""The training of `sdr finetune` in PyTorch, to compare accuracy and speed with.

    sdr finetune --model backbone.safetensors --task cifar10-train.parquet --out classifier/ --epochs 10
    python docs/finetune.py backbone.safetensors cifar10-train.parquet cifar10-test.parquet --epochs 10

It needs torch, torchvision, safetensors, pillow, pyarrow and numpy. Options have the names and defaults of the command.
"""

import argparse
import io
import json
import math
import time

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors import safe_open
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

DEPTHS = {"resnet18": (BasicBlock, [2, 2, 2, 2]), "resnet34": (BasicBlock, [3, 4, 6, 3]),
          "resnet50": (Bottleneck, [3, 4, 6, 3]), "resnet101": (Bottleneck, [3, 4, 23, 3])}


class Backbone(ResNet):
    """torchvision's ResNet with any width and either stem."""

    def __init__(self, arch, stem, width, classes):
        nn.Module.__init__(self)
        block, depths = DEPTHS[arch]
        self._norm_layer = nn.BatchNorm2d
        self.inplanes, self.dilation, self.groups, self.base_width = width, 1, 1, 64
        small = stem == "small"
        self.conv1 = nn.Conv2d(3, width, 3 if small else 7, 1 if small else 2, 1 if small else 3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        for i, depth in enumerate(depths):
            setattr(self, f"layer{i + 1}", self._make_layer(block, width << i, depth, stride=min(i + 1, 2)))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(self.inplanes, classes)


def load_model(path, classes):
    with safe_open(path, "pt") as f:
        meta = {k: json.loads(f.metadata()[k]) for k in ("backbone", "input")}
        b = meta["backbone"]
        net = Backbone(b["arch"], b["stem"], b["width"], classes)
        weights = {k: f.get_tensor(k) for k in f.keys() if k in net.state_dict() and not k.startswith("fc.")}
    missing = net.load_state_dict(weights, strict=False).missing_keys
    assert missing == ["fc.weight", "fc.bias"], missing
    return net, meta["input"]


def load_images(path, size):
    table = pq.read_table(path)
    images = [Image.open(io.BytesIO(i["bytes"])).convert("RGB") for i in table["image"].to_pylist()]
    return [i if i.size == (size, size) else i.resize((size, size)) for i in images], np.array(table["label"])


def parameter_groups(net, lr, decay, weight_decay):
    """Layer-wise decay: a group per block, from the stem to the classifier, for weights and for everything else."""
    def block(name):
        return ".".join(name.split(".")[:2]) if name.startswith("layer") else "fc" if name.startswith("fc") else "stem"

    blocks = list(dict.fromkeys(block(n) for n, _ in net.named_parameters()))
    return [{"params": [p], "lr": lr * decay ** (len(blocks) - 1 - blocks.index(block(n))),
             "weight_decay": weight_decay if p.ndim > 1 else 0} for n, p in net.named_parameters()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("train")
    parser.add_argument("test")
    for name, default in {"epochs": 50, "batch": 64, "lr": 0.1, "layer-decay": 0.8, "momentum": 0.9, "weight-decay": 5e-4,
                          "label-smoothing": 0.1, "mixup": 0.0, "crop-scale": 0.25, "flip": 0.5, "held-out": 0.1,
                          "seed": 1}.items():
        parser.add_argument("--" + name, type=type(default), default=default)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--workers", type=int, default=0)
    o = parser.parse_args()
    torch.manual_seed(o.seed)
    random = np.random.default_rng(o.seed)

    with safe_open(o.model, "pt") as f:
        size = json.loads(f.metadata()["input"])["size"]
    images, labels = load_images(o.train, size)
    net, spec = load_model(o.model, int(labels.max()) + 1)
    layout = torch.channels_last if o.channels_last else torch.contiguous_format
    net = net.to(memory_format=layout)
    order = random.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    held = np.floor((np.arange(len(order)) + 1) * o.held_out) > np.floor(np.arange(len(order)) * o.held_out)
    train, held = order[~held], order[held]

    normalize = transforms.Compose([transforms.ToTensor(), transforms.Normalize(spec["mean"], spec["std"])])
    view = transforms.Compose([transforms.RandomResizedCrop(size, (o.crop_scale, 1)), transforms.RandomHorizontalFlip(o.flip), normalize])
    loader = DataLoader([(i,) for i in train], batch_size=min(o.batch, len(train)), shuffle=True, drop_last=True, num_workers=o.workers,
                        collate_fn=lambda rows: (torch.stack([view(images[i]) for i, in rows]), torch.tensor([labels[i] for i, in rows])))

    def measure(images, labels):
        net.eval()
        right = 0
        with torch.no_grad():
            for at in range(0, len(images), 256):
                x = torch.stack([normalize(i) for i in images[at:at + 256]]).to(memory_format=layout)
                right += (net(x).argmax(1).numpy() == labels[at:at + 256]).sum()
        net.train()
        return 100 * right / len(images)

    groups = parameter_groups(net, o.lr, o.layer_decay, o.weight_decay)
    optimizer = torch.optim.SGD(groups, lr=o.lr, momentum=o.momentum)
    steps = o.epochs * len(loader)
    warmup = int(0.05 * steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / warmup if step < warmup
                                                 else (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2)
    best, weights, seconds, cpu = -1.0, None, 0.0, 0.0
    for epoch in range(o.epochs):
        net.train()
        start, start_cpu = time.perf_counter(), time.process_time()
        for x, y in loader:
            x = x.to(memory_format=layout)
            if o.mixup > 0:
                share = random.beta(o.mixup, o.mixup)
                logits = net(share * x + (1 - share) * x.flip(0))
                loss = share * nn.functional.cross_entropy(logits, y, label_smoothing=o.label_smoothing) \
                    + (1 - share) * nn.functional.cross_entropy(logits, y.flip(0), label_smoothing=o.label_smoothing)
            else:
                loss = nn.functional.cross_entropy(net(x), y, label_smoothing=o.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        seconds += time.perf_counter() - start
        cpu += time.process_time() - start_cpu
        accuracy = measure([images[i] for i in held], labels[held]) if len(held) else 0.0
        if accuracy >= best:
            best, weights = accuracy, {k: v.clone() for k, v in net.state_dict().items()}
    net.load_state_dict(weights)
    seen = steps * loader.batch_size
    test = measure(*load_images(o.test, size))
    print(f"validation {best:.2f}, test {test:.2f}, {seen / seconds:.1f} images/s, {1000 * cpu / seen:.3f} ms of CPU time per image")


if __name__ == "__main__":
    main()
