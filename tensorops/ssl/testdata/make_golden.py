"""Writes the reference values of this package's tests with lightly, in double precision.

    python make_golden.py   # writes byol.safetensors, moco.safetensors and swav.safetensors beside itself

Both sides compute weights and images, see nn/testdata/make_golden.py.
"""

import copy
import pathlib
import sys

import torch
import torch.nn.functional as F
from lightly.loss import NegativeCosineSimilarity, NTXentLoss, SwaVLoss
from lightly.models.modules import (
    BYOLPredictionHead, BYOLProjectionHead, MoCoProjectionHead, SwaVProjectionHead, SwaVPrototypes)
from lightly.models.utils import update_momentum
from lightly.utils.scheduler import cosine_schedule
from safetensors.torch import save_file
from torch import nn
from torchvision.models.resnet import BasicBlock

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "nn" / "testdata"))
from make_golden import Narrow, hashed, initialise, training_images  # noqa: E402

WIDTH, HIDDEN, DIM, PREDICTOR = 4, 16, 12, 8
STEPS, LR, MOMENTUM = 20, 0.03, 0.9
QUEUE, PROTOTYPES = 96, 20


def network(projector, predictor=None):
    net = Narrow(BasicBlock, [2, 2, 2, 2], WIDTH, small=True)
    net.projector = projector.layers
    if predictor:
        net.predictor = predictor.layers
    initialise(net)
    with torch.no_grad():  # calm, see reference_training
        for m in net.modules():
            if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
                m.weight /= 2
                m.bias += 1
    return net


def train(name, student, loss_of, bias, lr=LR, target=None, momentum=None, more=lambda: {}):
    """Trains like lightly's examples/pytorch/NAME.py, except that the target is updated after the optimizer step, as in
    BYOL's paper, and the momentum changes per step instead of per epoch. It stores losses and some weights."""
    sgd = torch.optim.SGD(student.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    losses = []
    for step in range(STEPS):
        loss = loss_of(*training_images(step).permute(0, 3, 1, 2).chunk(2))
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        if target:
            update_momentum(student, target, m=momentum(step))
        losses.append(loss.item())
    print(name, [round(v, 4) for v in losses])
    out = {"losses": torch.tensor(losses)} | more()
    for parameter in ("conv1.weight", "layer4.1.bn2.weight", bias):
        out["student." + parameter] = student.get_parameter(parameter)
        if target:
            out["target." + parameter] = target.get_parameter(parameter)
    save_file({k: v.detach().float().contiguous() for k, v in out.items()}, HERE / f"{name}.safetensors")


def byol():
    student = network(BYOLProjectionHead(8 * WIDTH, HIDDEN, DIM), BYOLPredictionHead(DIM, PREDICTOR, DIM))
    target = copy.deepcopy(student)
    criterion = NegativeCosineSimilarity()

    def loss(x0, x1):
        p0, p1 = student(x0)[2], student(x1)[2]
        with torch.no_grad():
            z0, z1 = target(x0)[1], target(x1)[1]
        return 0.5 * (criterion(p0, z1) + criterion(p1, z0))

    train("byol", student, loss, "projector.3.bias", target=target,
          momentum=lambda step: cosine_schedule(step, STEPS + 1, MOMENTUM, 1))


def moco():
    """The loss is symmetric: both views are queries and keys, as if they were one batch."""
    student = network(MoCoProjectionHead(8 * WIDTH, HIDDEN, DIM))
    target = copy.deepcopy(student)
    criterion = NTXentLoss(temperature=0.2, memory_bank_size=(QUEUE, DIM))
    memory = criterion.memory_bank
    memory.bank = F.normalize(hashed("queue", QUEUE, DIM)).flip(0)  # lightly replaces the first keys first

    def loss(x0, x1):
        q0, q1 = student(x0)[1], student(x1)[1]
        with torch.no_grad():
            k0, k1 = target(x0)[1], target(x1)[1]
        return criterion(torch.cat([q0, q1]), torch.cat([k1, k0]))

    def queue():
        """The queue, from the newest batch to the oldest one, each with the keys of the first views first."""
        batches = memory.bank.view(3, 2, 16, DIM)
        newest = int(memory.bank_ptr) // 32 - 1
        return {"queue": batches[[newest, newest - 1, newest - 2]].flip(1)}

    train("moco", student, loss, "projector.2.bias", lr=0.004, target=target, momentum=lambda _: MOMENTUM, more=queue)


def swav():
    student = network(SwaVProjectionHead(8 * WIDTH, HIDDEN, DIM))
    prototypes = SwaVPrototypes(DIM, PROTOTYPES).double()
    prototypes.heads[0].bias = None  # as in the paper
    weight = prototypes.heads[0].weight
    weight.data = (hashed("prototypes.weight", PROTOTYPES, DIM) / DIM**0.5).float().double()
    student.prototypes = prototypes
    criterion = SwaVLoss()

    def loss(x0, x1):
        prototypes.normalize()
        return criterion([prototypes(F.normalize(student(x)[1])) for x in (x0, x1)], [])

    train("swav", student, loss, "projector.3.bias", more=lambda: {"student.prototypes.weight": weight})


torch.set_num_threads(1)
torch.backends.mkldnn.enabled = False  # see nn/testdata/make_golden.py
byol()
moco()
swav()
