"""Writes linear.json: the weights that scikit-learn's ridge regression gives for the maps and objects of fcos.safetensors.
Needs numpy, scipy, scikit-learn and safetensors."""
import json, pathlib

import numpy as np
from safetensors.numpy import load_file
from scipy.ndimage import uniform_filter
from sklearn.linear_model import Ridge

HERE = pathlib.Path(__file__).parent
RIDGE, CLASSES = 0.05, 3
data = load_file(HERE / "fcos.safetensors")
maps = [data["map0"].astype(float), data["map1"].astype(float)]  # [N, C, H, W]; strides 4 and 8
maps += [maps[1].reshape(2, -1, 4, 2, 4, 2).mean((3, 5)), maps[1].reshape(2, -1, 2, 4, 2, 4).mean((3, 5))]
seen = [(0, 1), (1,), (2,), (3,)]  # the maps of each level


def around(m):
    """The means of 3x3 pixels that are in the map."""
    total = uniform_filter(m, (0, 0, 3, 3), mode="constant")
    return total / uniform_filter(np.ones_like(m), (0, 0, 3, 3), mode="constant")


def column(m, side):
    return np.repeat(np.repeat(m, side // m.shape[2], 2), side // m.shape[3], 3)


levels = []
for level, of in enumerate(seen):
    side, stride = maps[level].shape[2], 4 << level
    x = np.concatenate([column(f, side) for m in of for f in (maps[m], around(maps[m]))], 1)
    x = x.transpose(0, 2, 3, 1).reshape(2 * side * side, -1)
    y, inside, sides = np.zeros((len(x), CLASSES)), [], []
    low, high = (0 if level == 0 else 4 * stride), (np.inf if level == 3 else 8 * stride)
    for row in range(len(x)):
        image, py, px = row // (side * side), row // side % side * stride, row % side * stride
        best = None
        for (x0, y0, x1, y1), label in zip(data[f"boxes{image}"].astype(float), data[f"labels{image}"]):
            d = np.array([px - x0, py - y0, x1 - px, y1 - py])
            off = max(abs((x0 + x1) / 2 - px), abs((y0 + y1) / 2 - py))
            if d.min() > 0 and low < d.max() < high and off < 1.5 * stride:
                if best is None or (x1 - x0) * (y1 - y0) < best[0]:
                    best = (x1 - x0) * (y1 - y0), d, int(label)
        if best:
            _, d, label = best
            y[row, label] = np.sqrt(min(d[0], d[2]) / max(d[0], d[2]) * min(d[1], d[3]) / max(d[1], d[3]))
            inside.append(x[row])
            sides.append(np.log(d / stride))

    def fit(x, y):
        x, y = np.array(x), np.array(y)
        if len(x) == 0:
            return []
        ridge = Ridge(RIDGE * x.var(0).mean() * len(x)).fit(x, y)
        return np.concatenate([ridge.intercept_[None], ridge.coef_.T]).ravel().tolist()

    levels.append(dict(points=len(sides), **{"class": fit(x, y), "box": fit(inside, sides)}))
(HERE / "linear.json").write_text(json.dumps(dict(ridge=RIDGE, levels=levels)))
