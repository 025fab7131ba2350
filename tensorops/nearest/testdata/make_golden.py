"""Golden values for package nearest, from scikit-learn and numpy: python make_golden.py"""

import json
import pathlib

import numpy as np
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

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
pathlib.Path(__file__).with_name("golden.json").write_text(json.dumps(golden) + "\n")
