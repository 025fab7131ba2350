"""Writes golden.json: k-means runs of scikit-learn from given starting points,
and PCA whitening by numpy, on the float32 vectors listed in it."""
import json, os
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import silhouette_score

x, _ = make_blobs(300, 5, centers=7, cluster_std=2.5, random_state=3)
x = x.astype(np.float32)
start = x[[5, 80, 120, 290]]
runs = []
for iterations in (1, 2, 5, 50):
    km = KMeans(4, init=start, n_init=1, max_iter=iterations, tol=0, algorithm="lloyd").fit(x)
    runs.append({"iterations": iterations, "inertia": float(km.inertia_),
                 "labels": "".join(map(str, km.labels_)), "centroids": km.cluster_centers_.tolist()})
weights = (1 + np.arange(300) % 7).astype(np.float32) / 2
weights[::11] = 0
km = KMeans(4, init=start, n_init=1, max_iter=50, tol=0, algorithm="lloyd").fit(x, sample_weight=weights)
weighted = {"iterations": 50, "inertia": float(km.inertia_), "labels": "".join(map(str, km.labels_)),
            "centroids": km.cluster_centers_.tolist()}

m = x.astype(np.float64) - x.astype(np.float64).mean(0)
values, vectors = np.linalg.eigh(m.T @ m / len(m))
values, vectors = values[::-1], vectors[:, ::-1]
vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), range(5)])
floor = 0.2
white = m @ vectors / np.sqrt(np.maximum(values, floor * values[0]))
unit = white / np.linalg.norm(white, axis=1, keepdims=True)
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.json"), "w") as f:
    json.dump({"vectors": x.tolist(), "start": start.tolist(), "runs": runs, "weights": weights.tolist(), "weighted": weighted,
               "silhouettes": [float(silhouette_score(x.astype(np.float64), list(r["labels"]))) for r in runs], "floor": floor,
               "white": np.round(white, 6).tolist(), "unit": np.round(unit, 6).tolist()}, f)
