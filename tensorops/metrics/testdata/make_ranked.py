"""Writes ranked.json with scikit-learn: python make_ranked.py (needs numpy and scikit-learn)."""

import json
import pathlib

import numpy as np
from sklearn.metrics import precision_recall_curve

random = np.random.default_rng(3)


def average_precision(has, score):
    """With 11 points, as the development kit of Pascal VOC 2007."""
    precision, recall = (curve[:-1] for curve in precision_recall_curve(has, score)[:2])  # without its own point at recall 0
    return np.mean([precision[recall >= r].max() for r in np.arange(11) / 10])


cases = []
for images, classes, levels in [(40, 3, 1000), (200, 7, 5), (200, 4, 2), (500, 20, 1000), (30, 2, 1)]:
    has = random.random((images, classes)) < random.uniform(0.02, 0.6, classes)
    has[:, 0] = False  # no image has the first class
    scores = np.round((0.3 * has + random.random(has.shape)) * levels) / levels  # few levels give many ties
    want = np.mean([average_precision(has[:, c], scores[:, c]) for c in range(classes) if has[:, c].any()])
    cases.append({"classes": classes, "has": has.astype(int).ravel().tolist(), "scores": scores.ravel().tolist(), "want": want})
pathlib.Path(__file__).with_name("ranked.json").write_text(json.dumps(cases) + "\n")
