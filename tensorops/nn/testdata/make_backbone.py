"""Writes backbone.safetensors, a randomly initialized ResNet-18 of torchvision with its classifier and BatchNorm statistics
of a few batches, and backbone_features.json: what it computes from the images hashed("images", 2, 32, 32, 3).

    python make_backbone.py

Made with PyTorch 2.15 and torchvision 0.29. The net has width 3; torchvision's own has 64.
"""

import json
import pathlib

import torch
from make_golden import BasicBlock, Narrow, hashed
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
torch.backends.mkldnn.enabled = False  # see make_golden.py
torch.manual_seed(1)
net = Narrow(BasicBlock, [2, 2, 2, 2], 3, small=False)
del net.projector, net.predictor
classifier = torch.nn.Linear(24, 10)
for m in net.modules():  # torchvision's initialization
    if isinstance(m, torch.nn.Conv2d):
        torch.nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
with torch.no_grad():
    for i in range(5):
        net.projector = net.predictor = torch.nn.Identity()
        net(torch.randn(16, 3, 32, 32))
    tensors = {k: v.clone() for k, v in net.state_dict().items()}
    features = net.double().eval()(hashed("images", 2, 32, 32, 3).permute(0, 3, 1, 2))[0]
tensors |= {"fc." + k: v for k, v in classifier.state_dict().items()}
save_file(tensors, HERE / "backbone.safetensors")
(HERE / "backbone_features.json").write_text(json.dumps([[float(f"{v:.7g}") for v in row] for row in features]) + "\n")
