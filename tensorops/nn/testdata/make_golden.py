"""Writes the reference values of this package's tests with PyTorch and torchvision, in double precision.

    python make_golden.py        # writes net_*.safetensors, train_*.safetensors and losses.safetensors beside itself
    python make_golden.py FILE   # checks that torchvision loads the ResNet-18 that TestModelFile wrote to SDR_MODEL_OUT

Weights and images are not stored: both sides compute them from an integer hash (hashed and initialise here and in nn_test.go).
"""

import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torchvision.models import MobileNetV2
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

HERE = pathlib.Path(__file__).parent


def hashed(key, *shape):
    """Uniform numbers in [-1, 1), multiples of 2^-23: Murmur3's finalizer of the index and FNV-1a of the key."""
    h = 2166136261
    for c in key.encode():
        h = (h ^ c) * 16777619 % 2**32
    x = np.arange(math.prod(shape), dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(h)
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    x = x ^ (x >> 16)
    return torch.from_numpy((x >> 8).astype(np.float64) / 2**23 - 1).reshape(shape)


class Narrow(ResNet):
    """torchvision's ResNet with any width and a small stem."""

    def __init__(self, block, depths, width, small):
        nn.Module.__init__(self)
        self._norm_layer = nn.BatchNorm2d
        self.inplanes, self.dilation, self.groups, self.base_width = width, 1, 1, 64
        if small:
            self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
            self.maxpool = nn.Identity()
        else:
            self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
            self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.bn1, self.relu = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.layer1 = self._make_layer(block, width, depths[0])
        self.layer2 = self._make_layer(block, 2 * width, depths[1], stride=2)
        self.layer3 = self._make_layer(block, 4 * width, depths[2], stride=2)
        self.layer4 = self._make_layer(block, 8 * width, depths[3], stride=2)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Identity()
        self.projector, self.predictor = nn.Sequential(), nn.Sequential()

    def forward(self, x):
        h = super().forward(x)
        z = self.projector(h)
        return h, z, self.predictor(z)


class SmallMobile(MobileNetV2):
    """torchvision's MobileNetV2 with a small stem."""

    def __init__(self, width):
        super().__init__(width_mult=width / 64)
        self.features[0][0].stride = (1, 1)
        self.classifier = nn.Identity()
        self.projector, self.predictor = nn.Sequential(), nn.Sequential()

    def forward(self, x):
        h = super().forward(x)
        z = self.projector(h)
        return h, z, self.predictor(z)


def simsiam(width, hidden, dim, predictor):
    """The heads of SimSiam's reference code (facebookresearch/simsiam), without its unused bias before BatchNorm."""
    net = Narrow(BasicBlock, [2, 2, 2, 2], width, small=True)
    net.projector = nn.Sequential(
        nn.Linear(8 * width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True),
        nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True),
        nn.Linear(hidden, dim, bias=False), nn.BatchNorm1d(dim, affine=False))
    net.predictor = nn.Sequential(
        nn.Linear(dim, predictor, bias=False), nn.BatchNorm1d(predictor), nn.ReLU(inplace=True),
        nn.Linear(predictor, dim))
    return initialise(net)


def simclr(block, depths, width, small, features, hidden, dim, norm=False):
    return with_projector(Narrow(block, depths, width, small), features, hidden, dim, norm)


def with_projector(net, features, hidden, dim, norm=False):
    net.projector = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim))
    if norm:
        net.projector = nn.Sequential(
            nn.Linear(features, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True),
            nn.Linear(hidden, dim, bias=False), nn.BatchNorm1d(dim, affine=False))
    return initialise(net)


def initialise(net):
    net.double()
    with torch.no_grad():
        for name, p in net.named_parameters():
            u = hashed(name, *p.shape)
            if p.dim() == 4:
                v = u * math.sqrt(6 / (p.shape[0] * p.shape[2] * p.shape[3]))
            elif p.dim() == 2:
                v = u / math.sqrt(p.shape[1])
            elif name.endswith(".weight"):
                v = 1 + u / 8
            else:
                v = u / 8
            p.copy_(v.float())
    return net


def digest(out, prefix, net):
    """Stores the norm of each parameter's gradient and its projections on two hashed directions."""
    for name, p in net.named_parameters():
        g = p.grad if p.grad is not None else torch.zeros_like(p)
        out[f"{prefix}.{name}"] = torch.stack(
            [g.norm()] + [(g * hashed(f"{name}.{k}", *g.shape)).sum() for k in ("a", "b")])


def passes(net, images):
    """One pass per view, as in training."""
    h, z, p = zip(*(net(v) for v in images.chunk(2)))
    return torch.cat(h), torch.cat(z), torch.cat(p)


def reference_net(name, net, size, batch):
    out = {}
    images = hashed("images", batch, size, size, 3).permute(0, 3, 1, 2)
    for mode in ("train", "eval"):  # eval uses the statistics that train left
        net.train(mode == "train")
        net.zero_grad()
        h, z, p = passes(net, images)
        loss = (z * hashed("dz", *z.shape)).sum()
        if len(net.predictor):
            loss = loss + (p * hashed("dp", *p.shape)).sum()
        loss.backward()
        digest(out, mode + ".grad", net)
        out |= {f"{mode}.features": h, f"{mode}.z": z, f"{mode}.p": p}
    out |= {k: v.clone() for k, v in net.state_dict().items() if "running" in k}
    for m in net.modules():  # re-estimation: cumulative averages over two batches of two views
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            m.reset_running_stats()
            m.momentum = None
    net.train()
    with torch.no_grad():
        passes(net, images)
        passes(net, hashed("more images", batch, size, size, 3).permute(0, 3, 1, 2))
    out |= {"again." + k: v for k, v in net.state_dict().items() if "running" in k}
    save(f"net_{name}", out)


def cosine_loss(p, t):
    (p1, p2), (t1, t2) = p.chunk(2), t.detach().chunk(2)
    return -(F.cosine_similarity(p1, t2).mean() + F.cosine_similarity(p2, t1).mean()) / 2


def ntxent_loss(z, temperature):
    z = F.normalize(z)
    s = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), float("-inf"))
    return F.cross_entropy(s, (torch.arange(len(z)) + len(z) // 2) % len(z))


def training_images(step):
    """Two views of 16 images, [32, 16, 16, 3]: one color per image, with different noise in each view."""
    colour = hashed(f"colours {step}", 16, 1, 1, 3).repeat(2, 1, 1, 1)
    return colour + hashed(f"noise {step}", 32, 16, 16, 3) / 2


def reference_training(net, loss_of, lr, steps, dtype=torch.float64, noise=0, bf16=False):
    """Losses of SGD steps, each on new images, from weights with a relative perturbation of about noise.

    BatchNorms start with half the scale and a shift that is larger by 1: ReLU then mostly operates away from its kink, and
    rounding errors do not grow from step to step as they otherwise would (float32 would be off by 0.1 after 20 steps).
    """
    with torch.no_grad():
        for m in net.modules():
            if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) and m.affine:
                m.weight /= 2
                m.bias += 1
        for name, p in net.named_parameters():
            p *= 1 + noise * hashed(f"{name}.noise", *p.shape)
    net.to(dtype).train()
    sgd = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    losses = []
    for step in range(steps):
        images = training_images(step).permute(0, 3, 1, 2).to(dtype)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            _, z, p = passes(net, images)
        loss = loss_of(z.to(dtype), p.to(dtype))
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        losses.append(loss.item())
    return torch.tensor(losses)


def reference_losses():
    out = {}
    x = hashed("x", 12, 7).requires_grad_()
    t = hashed("t", 12, 7)
    for name, loss in {"cosine": cosine_loss(x, t), "ntxent": ntxent_loss(x, 0.2), "sharp": ntxent_loss(x, 0.005)}.items():
        out[name] = loss.detach()
        out[name + ".grad"], = torch.autograd.grad(loss, x)
    labels = torch.arange(12) * 5 % 7
    logits = (8 * x).detach().requires_grad_()
    for name, smoothing in {"entropy": 0, "smoothed": 0.3}.items():
        out[name] = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        out[name + ".grad"], = torch.autograd.grad(out[name], logits)
    out["collapse"] = F.normalize(x.detach()).std(dim=0).mean()
    save("losses", out)


def save(name, tensors):
    save_file({k: v.detach().float().contiguous() for k, v in tensors.items()}, HERE / f"{name}.safetensors")


def main():
    if len(sys.argv) == 2:
        net = Narrow(BasicBlock, [2, 2, 2, 2], 4, small=True)
        with safe_open(sys.argv[1], "pt") as f:
            net.load_state_dict({k: f.get_tensor(k) for k in f.keys()}, strict=True)
        print("torchvision loads it")
        sys.exit()

    torch.set_num_threads(1)  # the nets are small
    torch.backends.mkldnn.enabled = False  # its float32 convolutions with few channels write out of bounds (torch 2.15, AVX2)
    reference_net("resnet18", simsiam(4, 16, 12, 8), size=16, batch=8)
    reference_net("resnet34", simclr(BasicBlock, [3, 4, 6, 3], 2, True, 16, 12, 10), size=24, batch=6)
    reference_net("resnet50", simclr(Bottleneck, [3, 4, 6, 3], 4, False, 128, 12, 10), size=40, batch=6)
    reference_net("mobilenet_v2", with_projector(SmallMobile(16), 1280, 12, 10), size=32, batch=4)
    reference_losses()
    resnet18 = BasicBlock, [2, 2, 2, 2]
    for name, make, loss, lr, steps in (
        ("simsiam", lambda: simsiam(4, 16, 12, 8), lambda z, p: cosine_loss(p, z), 0.03, 20),
        ("ntxent", lambda: simclr(*resnet18, 4, True, 32, 16, 12), lambda z, p: ntxent_loss(z, 0.2), 0.004, 20),
        # Rounding errors grow from step to step: after 200 steps of NT-Xent at a learning rate of 0.001, even at a
        # temperature of 0.5, PyTorch's own float32 is off by 6 %. With BatchNorm after each layer of the projector, training
        # is stable: for weights that differ by 1e-6, losses end up differing by 1e-6. SimSiam has these BatchNorms and needs
        # only a lower rate.
        ("simsiam_long", lambda: simsiam(8, 32, 24, 16), lambda z, p: cosine_loss(p, z), 0.01, 200),
        ("ntxent_long", lambda: simclr(*resnet18, 8, True, 64, 32, 24, norm=True), lambda z, p: ntxent_loss(z, 0.5), 0.003, 200),
    ):
        double = reference_training(make(), loss, lr, steps)
        losses = {"losses": double}
        if steps == 200:  # the effect of bfloat16 on PyTorch's own training
            torch.backends.mkldnn.enabled = True
            losses["bf16"] = reference_training(make(), loss, lr, steps, torch.float32, bf16=True)
            torch.backends.mkldnn.enabled = False
            print(f"  bf16: off by {(losses['bf16'] - double).square().mean().sqrt():.1e} (root mean square)")
        save(f"train_{name}", losses)
        print(name, [round(v, 4) for v in double[:: steps // 20].tolist()])
        for dtype, noise in (torch.float32, 0), (torch.float32, 1e-6):
            other = reference_training(make(), loss, lr, steps, dtype, noise)
            print(f"  {dtype} with noise of {noise}: off by {(other - double).abs().max():.1e},"
                  f" {((other - double) / double).abs().max():.1e} of a step's loss")


if __name__ == "__main__":
    main()
