"""Writes golden.json with scikit-learn: python make_golden.py (needs numpy and scikit-learn)."""

import json
import pathlib

import numpy as np
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

random = np.random.default_rng(1)
cases = []
for n, groups, classes, noise in [(50, 3, 3, 0.2), (400, 8, 5, 0.6), (400, 8, 5, 1.0), (30, 1, 4, 1.0), (20, 4, 4, 0.0), (2000, 40, 7, 0.3)]:
    a = random.integers(0, groups, n)
    b = np.where(random.random(n) < noise, random.integers(0, classes, n), a % classes)
    cases.append({"counts": contingency_matrix(a, b).tolist(), "want": adjusted_mutual_info_score(a, b)})
pathlib.Path(__file__).with_name("golden.json").write_text(json.dumps(cases) + "\n")
