"""Golden values for package optim, from PyTorch and lightly: python make_golden.py"""

import json
import pathlib

import torch
from lightly.utils.lars import LARS

STEPS = 6
generator = torch.Generator().manual_seed(5)


def draw(*shape):
    return (torch.randn(*shape, generator=generator) * 1e4).round().double() / 1e4


# Weights and biases alternate. One tensor starts as zeros, and one has a zero gradient in some steps.
sizes = [12, 3, 21, 5, 9, 1]
weights = [draw(n) for n in sizes]
weights[4] *= 0
gradients = [[draw(n) * 10 ** -(step % 3) for n in sizes] for step in range(STEPS)]
for step in (0, 4):
    gradients[step][2] *= 0
rates = [0.3 / (1 + step) for step in range(STEPS)]


def lars(params, **kwargs):
    """Biases in a parameter group of their own, as solo-learn and lightly train SimCLR."""
    return LARS([{"params": params[0::2]}, {"params": params[1::2], "weight_decay": 0.0}], lr=1, **kwargs)


optimizers = {
    "sgd": lambda p: torch.optim.SGD(p, lr=1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, lr=1, momentum=0.8, weight_decay=0.02, nesterov=True),
    "lars": lambda p: lars(p, momentum=0.9, weight_decay=0.05, trust_coefficient=0.2),
    "lars nesterov": lambda p: lars(p, momentum=0.7, weight_decay=0.01, trust_coefficient=0.1, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1, betas=(0.85, 0.98), eps=1e-3, weight_decay=0.1),
}
golden = {
    "sizes": sizes, "rates": rates, "weights": torch.cat(weights).tolist(),
    "gradients": [torch.cat(g).tolist() for g in gradients], "after": {},
}
for name, make in optimizers.items():
    params = [w.clone().requires_grad_() for w in weights]
    optimizer = make(params)
    golden["after"][name] = []
    for rate, step in zip(rates, gradients):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for p, g in zip(params, step):
            p.grad = g.clone()
        optimizer.step()
        golden["after"][name].append([round(v, 7) for p in params for v in p.tolist()])
pathlib.Path(__file__).with_name("golden.json").write_text(json.dumps(golden) + "\n")
