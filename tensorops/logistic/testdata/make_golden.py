"""Golden values for package logistic, from scikit-learn: python make_golden.py"""

import json
import pathlib

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

rng = np.random.default_rng(11)
DIM = 7


def draw(centres: np.ndarray, rows: int):
    labels = rng.integers(0, len(centres), rows)
    x = (centres[labels] + 1.5 * rng.normal(size=(rows, DIM))) * [1, 100, 0.01, 1, 1, 1, 1] + [0, 50, 3, 0, -2, 1, 0]
    x[:, 6] = 0.5  # a column that does not vary
    return np.round(x, 5).astype(np.float32).astype(np.float64), labels


golden = []
for classes, c in ((4, 0.01), (4, 1.0), (4, 100.0), (2, 0.5)):
    centres = rng.normal(size=(classes, DIM))
    train, labels = draw(centres, 120)
    test, truth = draw(centres, 60)
    # With two classes scikit-learn fits one logit, the difference of two that share the penalty.
    model = make_pipeline(StandardScaler(), LogisticRegression(C=c * 2 if classes == 2 else c, tol=1e-9, max_iter=10000))
    model.fit(train, labels)
    regression = model[-1]
    weight = np.column_stack([regression.coef_, regression.intercept_])
    if classes == 2:
        weight = np.concatenate([-weight / 2, weight / 2])
    golden.append({
        "dim": DIM, "classes": classes, "c": c, "train": train.ravel().tolist(), "labels": labels.tolist(),
        "test": test.ravel().tolist(), "pred": model.predict(test).tolist(), "weight": weight.ravel().tolist(),
        "loss": log_loss(labels, model.predict_proba(train)), "last": model.predict_proba(test)[:, -1].tolist(),
    })
pathlib.Path(__file__).with_name("golden.json").write_text(json.dumps(golden) + "\n")
