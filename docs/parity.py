"""Trains as docs/parity.md says, with PyTorch, lightly's losses and heads, and torchvision's views on PIL images.

    python docs/parity.py TRAIN.parquet TEST.parquet --images 25000 50000 100000

TRAIN and TEST have the columns image and label. Like sdr, it trains ResNet-18 of width 8 on crops of 20 px by SGD with a
cosine, re-estimates the BatchNorm statistics on 2,048 images as they are, and classifies the features of the test images
by the weighted vote of 20 neighbors. Each number of images is a training of its own. It prints one line of JSON per
training; it needs torch torchvision lightly pyarrow pillow.
"""

import argparse
import copy
import io
import json
import math
import time

import pyarrow.parquet
import torch
import torch.nn.functional as F
from lightly.loss import NegativeCosineSimilarity, NTXentLoss, SwaVLoss
from lightly.models.modules import (
    BYOLPredictionHead, BYOLProjectionHead, MoCoProjectionHead, SimCLRProjectionHead, SimSiamPredictionHead,
    SimSiamProjectionHead, SwaVProjectionHead, SwaVPrototypes)
from lightly.models.utils import update_momentum
from lightly.utils.scheduler import cosine_schedule
from PIL import Image
from torch import nn
from torchvision import transforms as T
from torchvision.models.resnet import BasicBlock, ResNet

WIDTH, SIZE, CROP, BATCH = 8, 32, 20, 128
HIDDEN, DIM, PREDICTOR = 128, 64, 64
LR, MOMENTUM, DECAY, WARMUP = 0.12, 0.9, 5e-4, 0.02
NORMALIZE = T.Normalize([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])
VIEW = T.Compose([
    T.RandomResizedCrop(CROP, (0.2, 1)),
    T.RandomHorizontalFlip(),
    T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
    T.RandomGrayscale(0.2),
    T.ToTensor(),
    NORMALIZE,
])
WHOLE = T.Compose([T.ToTensor(), NORMALIZE])


def read(path):
    """Returns the images, as PIL has them, and the labels of a Parquet file."""
    table = pyarrow.parquet.read_table(path)
    images = [Image.open(io.BytesIO(i["bytes"])).convert("RGB") for i in table["image"].to_pylist()]
    return [i.resize((SIZE, SIZE), Image.BICUBIC) if i.size != (SIZE, SIZE) else i for i in images], torch.tensor(table["label"].to_pylist())


class Views(torch.utils.data.Dataset):
    """Two views of each image, epoch after epoch, each a random order."""

    def __init__(self, images, number, seed):
        self.images, random = images, torch.Generator().manual_seed(seed)
        self.order = torch.cat([torch.randperm(len(images), generator=random) for _ in range(math.ceil(number / len(images)))])[:number]

    def __len__(self):
        return len(self.order)

    def __getitem__(self, i):
        image = self.images[self.order[i]]
        return VIEW(image), VIEW(image)


class Net(nn.Module):
    """torchvision's ResNet-18 of width 8 with the stem for small images, and heads."""

    def __init__(self, projector, predictor=None):
        super().__init__()
        self.backbone = ResNet(BasicBlock, [2, 2, 2, 2])
        self.backbone.inplanes = WIDTH
        self.backbone.conv1 = nn.Conv2d(3, WIDTH, 3, 1, 1, bias=False)
        self.backbone.bn1 = nn.BatchNorm2d(WIDTH)
        self.backbone.maxpool, self.backbone.fc = nn.Identity(), nn.Identity()
        for i in range(4):
            setattr(self.backbone, f"layer{i + 1}", self.backbone._make_layer(BasicBlock, WIDTH << i, 2, stride=min(i + 1, 2)))
        for m in self.backbone.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        self.projector, self.predictor = projector, predictor

    def forward(self, x):
        return self.projector(self.backbone(x))


def simsiam(_):
    net = Net(SimSiamProjectionHead(8 * WIDTH, HIDDEN, DIM), SimSiamPredictionHead(DIM, PREDICTOR, DIM))
    criterion = NegativeCosineSimilarity()

    def loss(x0, x1):
        z0, z1 = net(x0), net(x1)
        return (criterion(net.predictor(z0), z1.detach()) + criterion(net.predictor(z1), z0.detach())) / 2

    return net, loss, None


def ntxent(_):
    net = Net(SimCLRProjectionHead(8 * WIDTH, HIDDEN, DIM, batch_norm=False))
    criterion = NTXentLoss(temperature=0.2)
    return net, lambda x0, x1: criterion(net(x0), net(x1)), None


def byol(steps):
    net = Net(BYOLProjectionHead(8 * WIDTH, HIDDEN, DIM), BYOLPredictionHead(DIM, PREDICTOR, DIM))
    target = copy.deepcopy(net)
    criterion = NegativeCosineSimilarity()

    def loss(x0, x1):
        with torch.no_grad():
            t0, t1 = target(x0), target(x1)
        return (criterion(net.predictor(net(x0)), t1) + criterion(net.predictor(net(x1)), t0)) / 2

    return net, loss, lambda step: update_momentum(net, target, m=cosine_schedule(step, steps + 1, 0.996, 1))


def moco(_):
    """The loss is symmetric: both views are queries and keys."""
    net = Net(MoCoProjectionHead(8 * WIDTH, HIDDEN, DIM))
    target = copy.deepcopy(net)
    criterion = NTXentLoss(temperature=0.2, memory_bank_size=(4096, DIM))

    def loss(x0, x1):
        with torch.no_grad():
            keys = torch.cat([target(x1), target(x0)])
        return criterion(torch.cat([net(x0), net(x1)]), keys)

    return net, loss, lambda _: update_momentum(net, target, m=0.999)


def swav(_):
    net = Net(SwaVProjectionHead(8 * WIDTH, HIDDEN, DIM))
    net.prototypes = SwaVPrototypes(DIM, 300)
    net.prototypes.heads[0].bias = None  # as in the paper
    criterion = SwaVLoss()

    def loss(x0, x1):
        net.prototypes.normalize()
        return criterion([net.prototypes(F.normalize(net(x))) for x in (x0, x1)], [])

    return net, loss, None


METHODS = {"simsiam": simsiam, "ntxent": ntxent, "byol": byol, "moco": moco, "swav": swav}


def rate(step, steps):
    """The learning rate: linear warmup, then a cosine down to 0."""
    warmup = int(WARMUP * steps)
    if step < warmup:
        return LR * (step + 1) / warmup
    return LR * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def train(method, images, number, seed, workers):
    torch.manual_seed(seed)
    steps = number // BATCH
    loader = torch.utils.data.DataLoader(Views(images, steps * BATCH, seed), BATCH, num_workers=workers)
    net, loss_of, after = METHODS[method](steps)
    sgd = torch.optim.SGD(net.parameters(), LR, MOMENTUM, weight_decay=DECAY)
    for step, (x0, x1) in enumerate(loader):
        for group in sgd.param_groups:
            group["lr"] = rate(step, steps)
        loss = loss_of(x0, x1)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        if after:
            after(step)
    return net.backbone, loss.item()


@torch.no_grad()
def knn(net, train, labels, test, wanted):
    """The accuracy, in percent, of a weighted vote of the 20 nearest neighbors."""
    def batches(images, size=256):
        return (torch.stack([WHOLE(i) for i in images[at:at + size]]) for at in range(0, len(images), size))

    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.reset_running_stats()
            m.momentum = None  # the plain average of the batches
    net.train()
    for x in batches([train[i] for i in torch.randperm(len(train))[:2048]]):
        net(x)
    net.eval()
    base, query = (F.normalize(torch.cat([net(x) for x in batches(images)])) for images in (train, test))
    similarity, nearest = (query @ base.T).topk(20)
    votes = torch.zeros(len(test), int(labels.max()) + 1).scatter_add_(1, labels[nearest], (similarity / 0.07).exp())
    return 100 * (votes.argmax(1) == wanted).float().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--images", type=int, nargs="+", default=[25000, 50000, 100000])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--workers", type=int, default=2, help="processes that make views")
    args = parser.parse_args()
    (images, labels), (test, wanted) = read(args.train), read(args.test)
    for method in args.methods:
        for seed in args.seeds:
            for number in args.images:
                start = time.time()
                net, loss = train(method, images, number, seed, args.workers)
                print(json.dumps({
                    "method": method, "seed": seed, "images": number, "loss": round(loss, 4),
                    "seconds": round(time.time() - start, 1), "knn": round(knn(net, images, labels, test, wanted), 2),
                }), flush=True)


if __name__ == "__main__":
    main()
