"""Writes the reference values of this package's tests with lightly, in double precision.

    python make_golden.py   # writes byol.safetensors beside itself

Both sides compute weights and images, see nn/testdata/make_golden.py.
"""

import copy
import pathlib
import sys

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from lightly.models.utils import update_momentum
from lightly.utils.scheduler import cosine_schedule
from safetensors.torch import save_file
from torch import nn
from torchvision.models.resnet import BasicBlock

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "nn" / "testdata"))
from make_golden import Narrow, initialise, training_images  # noqa: E402

WIDTH, HIDDEN, DIM, PREDICTOR = 4, 16, 12, 8
STEPS, LR, BASE = 20, 0.03, 0.9


def byol():
    """lightly's examples/pytorch/byol.py, except that the target is updated after the optimizer step, as in the paper,
    and the momentum changes per step instead of per epoch."""
    student = Narrow(BasicBlock, [2, 2, 2, 2], WIDTH, small=True)
    student.projector = BYOLProjectionHead(8 * WIDTH, HIDDEN, DIM).layers
    student.predictor = BYOLPredictionHead(DIM, PREDICTOR, DIM).layers
    initialise(student)
    with torch.no_grad():  # calm, see reference_training
        for m in student.modules():
            if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
                m.weight /= 2
                m.bias += 1
    target = copy.deepcopy(student)
    criterion = NegativeCosineSimilarity()
    sgd = torch.optim.SGD(student.parameters(), lr=LR, momentum=0.9, weight_decay=5e-4)
    losses = []
    for step in range(STEPS):
        x0, x1 = training_images(step).permute(0, 3, 1, 2).chunk(2)
        p0, p1 = student(x0)[2], student(x1)[2]
        with torch.no_grad():
            z0, z1 = target(x0)[1], target(x1)[1]
        loss = 0.5 * (criterion(p0, z1) + criterion(p1, z0))
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        update_momentum(student, target, m=cosine_schedule(step, STEPS + 1, BASE, 1))
        losses.append(loss.item())
    print([round(v, 4) for v in losses])
    out = {"losses": torch.tensor(losses)}
    for name in ("conv1.weight", "layer4.1.bn2.weight", "projector.3.bias"):
        out["student." + name] = student.get_parameter(name)
        out["target." + name] = target.get_parameter(name)
    save_file({k: v.detach().float().contiguous() for k, v in out.items()}, HERE / "byol.safetensors")


torch.set_num_threads(1)
torch.backends.mkldnn.enabled = False  # see nn/testdata/make_golden.py
byol()
