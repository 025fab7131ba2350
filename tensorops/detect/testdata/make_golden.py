"""Writes fcos.safetensors and losses.json: what torchvision's FCOS (pyramid, head, targets, losses, gradients, decoding)
and its losses give. Needs torch, torchvision and safetensors."""
import json, math, pathlib
from functools import partial

import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models.detection import fcos
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork, generalized_box_iou_loss, sigmoid_focal_loss
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

HERE = pathlib.Path(__file__).parent
torch.manual_seed(0)
SIDE, MAPS, CHANNELS, CLASSES, CONVS, GROUPS = 64, [(16, 3), (8, 4)], 4, 3, 1, 2


class Backbone(nn.Module):
    out_channels = CHANNELS

    def __init__(self):
        super().__init__()
        self.fpn = FeaturePyramidNetwork([c for _, c in MAPS], CHANNELS, extra_blocks=LastLevelP6P7(CHANNELS, CHANNELS))


norm = partial(nn.GroupNorm, GROUPS)
head = fcos.FCOSHead(32, 1, CLASSES, CONVS)  # its own norms have 32 groups
head.classification_head = fcos.FCOSClassificationHead(CHANNELS, 1, CLASSES, CONVS, norm_layer=norm)
head.regression_head = fcos.FCOSRegressionHead(CHANNELS, 1, CONVS, norm_layer=norm)
anchors = AnchorGenerator(tuple((s,) for s in (4, 8, 16, 32)), ((1.0,),) * 4)
model = fcos.FCOS(Backbone(), CLASSES, head=head, anchor_generator=anchors, score_thresh=0.3, nms_thresh=0.6, detections_per_img=30).double()
for name, p in model.named_parameters():
    with torch.no_grad():
        p.copy_(torch.randn(p.shape, dtype=p.dtype).float() * (0.3 if p.dim() > 1 else 0.5))
        if name.endswith("bbox_reg.bias"):
            p.copy_(torch.tensor([2.0, 3.0, 2.5, 1.5]))
        if name.endswith("cls_logits.bias"):
            p.fill_(-1)

maps = [torch.randn(2, c, s, s).double().requires_grad_() for s, c in MAPS]
targets = [
    dict(boxes=[[3, 4, 20, 22], [5, 5, 15, 17], [30.5, 8, 62, 60], [40, 40, 47, 46]], labels=[0, 1, 2, 0]),
    dict(boxes=[[0, 0, 64, 50]], labels=[1]),
]
out = dict(zip(("map0", "map1"), (m.detach().float() for m in maps)))
for i, t in enumerate(targets):
    out[f"boxes{i}"], out[f"labels{i}"] = torch.tensor(t["boxes"]).float(), torch.tensor(t["labels"])
targets = [dict(boxes=torch.tensor(t["boxes"]).double(), labels=torch.tensor(t["labels"])) for t in targets]

features = list(model.backbone.fpn({str(i): m for i, m in enumerate(maps)}).values())
said = model.head(features)
placed = model.anchor_generator(ImageList(torch.zeros(2, 3, SIDE, SIDE).double(), [(SIDE, SIDE)] * 2), features)
numbers = [f.shape[2] * f.shape[3] for f in features]
losses = model.compute_loss(targets, said, placed, numbers)
sum(losses.values()).backward()
out["losses"] = torch.stack([losses[k].detach() for k in ("classification", "bbox_regression", "bbox_ctrness")]).float()
for name, p in model.named_parameters():
    out[name], out["grad." + name] = p.detach().float(), p.grad.float()
for i, m in enumerate(maps):
    out[f"grad.map{i}"] = m.grad.float()
with torch.no_grad():
    parts = {k: list(v.split(numbers, dim=1)) for k, v in said.items()}
    found = model.postprocess_detections(parts, [list(a.split(numbers)) for a in placed], [(SIDE, SIDE), (SIDE, 40)])
for i, f in enumerate(found):
    out[f"found.boxes{i}"], out[f"found.scores{i}"], out[f"found.labels{i}"] = f["boxes"].float(), f["scores"].float(), f["labels"]
    print(len(f["scores"]), f["scores"][:5])
print(out["losses"])
out = {k: (v.int().float() if v.dtype == torch.int64 else v).contiguous() for k, v in out.items()}
save_file(out, HERE / "fcos.safetensors")

r = torch.Generator().manual_seed(1)
x = (torch.randn(12, generator=r) * 4).double().requires_grad_()
t = (torch.rand(12, generator=r) < 0.5).double()
value = sigmoid_focal_loss(x, t, reduction="none")
value.sum().backward()
corners = torch.rand(12, 2, 2, generator=r).double() * 50
boxes = torch.cat([corners, corners + 1 + torch.rand(12, 2, 2, generator=r).double() * 40], 2)  # [12, 2, 4]
boxes[0, 1] = torch.tensor([200, 200, 220, 210])  # apart
boxes[1, 1] = boxes[1, 0] + torch.tensor([-3, -2, 4, 1])  # around it
a, b = boxes[:, 0].clone().requires_grad_(), boxes[:, 1]
giou = generalized_box_iou_loss(a, b, reduction="none")
giou.sum().backward()
json.dump(dict(
    logits=x.tolist(), positive=(t > 0).tolist(), focal=value.tolist(), focal_slope=x.grad.tolist(),
    boxes=a.tolist(), targets=b.tolist(), giou=giou.tolist(), giou_slope=a.grad.tolist(),
), open(HERE / "losses.json", "w"), separators=(",", ":"))
