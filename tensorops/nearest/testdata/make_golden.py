"""Golden values for package nearest, from scikit-learn and numpy: python make_golden.py"""

import json
import pathlib

import numpy as np
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

rng = np.random.default_rng(7)
DIM, CLASSES, K = 12, 5, 9
centres = rng.normal(size=(CLASSES, DIM))


def draw(rows: int):
    labels = rng.choice(CLASSES, rows, p=[0.35, 0.25, 0.2, 0.15, 0.05])
    x = (centres[labels] + 1.3 * rng.normal(size=(rows, DIM))) * rng.uniform(0.1, 5, (rows, 1))
    return np.round(x, 4).astype(np.float32).astype(np.float64), labels


def weighted(temperature: float):
    return "uniform" if temperature == 0 else lambda distance: np.exp((1 - distance) / temperature)


train, labels = draw(150)
query, truth = draw(60)
golden = {"dim": DIM, "classes": CLASSES, "k": K, "train": train.ravel().tolist(), "labels": labels.tolist(),
          "query": query.ravel().tolist(), "truth": truth.tolist(), "cases": []}
for temperature in (0, 0.07, 0.5):
    model = KNeighborsClassifier(K, metric="cosine", algorithm="brute", weights=weighted(temperature))
    one_out = cross_val_predict(model, train, labels, cv=LeaveOneOut())
    pred = model.fit(train, labels).predict(query)
    golden["cases"].append({
        "temperature": temperature, "pred": pred.tolist(), "accuracy": float(np.mean(pred == truth)),
        "mean_per_class": balanced_accuracy_score(truth, pred), "leave_one_out": one_out.tolist(),
    })
similarity = query @ train.T
order = np.argsort(-similarity, axis=1, kind="stable")[:, :K]
golden["index"] = order.ravel().tolist()
golden["similarity"] = np.take_along_axis(similarity, order, 1).ravel().tolist()

# Few-shot: the nearest mean of the first SHOTS rows of each class, and the mean over many random episodes.
SHOTS = 5
first = np.concatenate([np.flatnonzero(labels == c)[:SHOTS] for c in range(CLASSES)])
golden["centroid"] = float(np.mean(NearestCentroid().fit(train[first], labels[first]).predict(query) == truth))
accuracies = []
for _ in range(20000):
    ways = rng.permutation(np.intersect1d(labels, truth))[:3]
    support = np.stack([train[rng.permutation(np.flatnonzero(labels == c))[:2]].mean(0) for c in ways])
    queries = [rng.permutation(np.flatnonzero(truth == c))[:4] for c in ways]
    found = [np.argmin(((query[q][:, None] - support) ** 2).sum(2), 1) == i for i, q in enumerate(queries)]
    accuracies.append(np.concatenate(found).mean())
golden["episodes"], golden["spread"] = float(np.mean(accuracies)), float(np.std(accuracies))

# Rows with several classes, each of which gets a row's vote.
sets = [sorted(set(rng.integers(0, CLASSES, rng.integers(1, 4)).tolist())) for _ in labels]
member = np.array([[c in s for c in range(CLASSES)] for s in sets], float)
unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)


def shares(similarity):
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :K]
    weights = np.exp(np.take_along_axis(similarity, nearest, 1) / 0.07)
    return np.einsum("qk,qkc->qc", weights / weights.sum(1, keepdims=True), member[nearest])


others = unit(train) @ unit(train).T
np.fill_diagonal(others, -2)
golden["sets"] = sets
golden["shares"] = shares(unit(query) @ unit(train).T).ravel().tolist()
golden["shares_of_others"] = shares(others).ravel().tolist()
pathlib.Path(__file__).with_name("golden.json").write_text(json.dumps(golden) + "\n")
