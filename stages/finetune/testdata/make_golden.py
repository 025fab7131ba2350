"""Writes start.safetensors, a model with a classifier, and golden.safetensors, what fine-tuning in PyTorch makes of it.

    python make_golden.py

Training is in double precision, with the parameter groups and the labels of the stage, and mixup in every other step.
"""

import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torchvision.models.resnet import BasicBlock

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE / "../../../tensorops/nn/testdata"))
from make_golden import Narrow, hashed, initialise  # noqa: E402

WIDTH, CLASSES, BATCH, SIZE = 2, 5, 6, 8
RATES, SHARES = [0.02, 0.05, 0.04, 0.03, 0.02, 0.01], [1, 0.7, 1, 0.2, 1, 0.6]
DECAY, MOMENTUM, WEIGHT_DECAY, SMOOTHING = 0.7, 0.9, 0.05, 0.1


def start():
    net = Narrow(BasicBlock, [2, 2, 2, 2], WIDTH, small=True)
    net.fc = nn.Linear(8 * WIDTH, CLASSES)
    net = initialise(net)
    meta = {"backbone": {"arch": "resnet18", "stem": "small", "width": WIDTH}, "heads": {"classes": CLASSES},
            "input": {"size": SIZE, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}, "classes": ["a", "b", "c", "d", "e"]}
    save_file({k: v.float() if v.is_floating_point() else v for k, v in net.state_dict().items()}, HERE / "start.safetensors",
              metadata={k: json.dumps(v) for k, v in meta.items()})
    return net


def rate(name):
    blocks = ["stem"] + [f"layer{s}.{i}" for s in range(1, 5) for i in range(2)] + ["fc"]
    block = ".".join(name.split(".")[:2]) if name.startswith("layer") else "fc" if name.startswith("fc") else "stem"
    return DECAY ** (len(blocks) - 1 - blocks.index(block))


def main():
    net = start().train()
    net.maxpool = nn.Identity()
    images = hashed("images", BATCH, SIZE, SIZE, 3)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    groups = [{"params": [p], "factor": rate(n), "weight_decay": WEIGHT_DECAY if p.dim() > 1 else 0} for n, p in net.named_parameters()]
    optimizer = torch.optim.SGD(groups, lr=1, momentum=MOMENTUM)
    losses = []
    for lr, share in zip(RATES, SHARES):
        for g in optimizer.param_groups:
            g["lr"] = lr * g["factor"]
        x = images.permute(0, 3, 1, 2)
        logits = super(Narrow, net).forward(share * x + (1 - share) * x.flip(0))
        loss = share * F.cross_entropy(logits, labels, label_smoothing=SMOOTHING) \
            + (1 - share) * F.cross_entropy(logits, labels.flip(0), label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    net.eval()
    out = {"images": images, "losses": torch.tensor(losses), "logits": super(Narrow, net).forward(images.permute(0, 3, 1, 2))}
    out |= {k: v for k, v in net.state_dict().items() if k in ("conv1.weight", "layer3.0.bn2.bias", "fc.bias", "bn1.running_var")}
    save_file({k: v.detach().float().contiguous() for k, v in out.items()}, HERE / "golden.safetensors")


main()
