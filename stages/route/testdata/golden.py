"""Writes golden.json: what the scorers must return, by the definitions, with numpy and scikit-learn.

    python golden.py > golden.json
"""

import json

import numpy as np
from sklearn.metrics import precision_recall_curve

rng = np.random.default_rng(1)
n, dim, classes = 60, 5, 3
labels = rng.integers(0, classes, n)
x = (rng.normal(size=(n, dim)) + 0.8 * rng.normal(size=(classes, dim))[labels] + 2).astype(np.float32).astype(np.float64)


def log_evidence(x, y):
    """The log evidence per image of y = x·w + noise (Bishop, eq. 3.86), maximized by alternating updates (eq. 3.92, 3.95)."""
    n, d = x.shape
    alpha = beta = 1.0
    for _ in range(11):
        before = alpha / beta
        a = alpha * np.eye(d) + beta * x.T @ x
        m = beta * np.linalg.solve(a, x.T @ y)
        eigen = beta * np.linalg.eigvalsh(x.T @ x)
        gamma = np.sum(eigen / (alpha + eigen))
        rest, size = np.sum((y - x @ m) ** 2), m @ m
        alpha, beta = gamma / (size + 1e-5), (n - gamma) / (rest + 1e-5)
        a = alpha * np.eye(d) + beta * x.T @ x
        evidence = (d * np.log(alpha) + n * np.log(beta) - beta * rest - alpha * size - np.linalg.slogdet(a)[1] - n * np.log(2 * np.pi)) / 2 / n
        if abs(alpha / beta - before) / before <= 1e-3:
            break
    return evidence


# Images with several classes.
sets = [sorted(set(rng.integers(0, classes, rng.integers(1, 3)).tolist())) for _ in labels]
member = np.array([[c in s for c in range(classes)] for s in sets], float)


def average_precision(scores):
    """The mean over the classes with 11 points, as the development kit of Pascal VOC 2007."""
    curves = [precision_recall_curve(member[:, c], scores[:, c])[:2] for c in range(classes)]
    return 100 * np.mean([p[:-1][r[:-1] >= level].max() for p, r in curves for level in np.arange(11) / 10])


def ridge_loo(targets, measure):
    """The best of a measure of leave-one-out predictions over the penalties, by as many fits."""
    centered = x - x.mean(0)
    mean = np.trace(centered.T @ centered) / dim
    best = 0.0
    for r in [1e-4, 1e-3, 1e-2, 1e-1, 1]:
        scores = np.zeros(targets.shape)
        for i in range(n):
            keep = np.arange(n) != i
            # All features stay centered by the mean of all, so the intercept of the others is that of the hat matrix.
            x1 = np.hstack([np.ones((n, 1)), centered])
            a = x1[keep].T @ x1[keep] + np.diag([0] + [r * mean] * dim)
            scores[i] = x1[i] @ np.linalg.solve(a, x1[keep].T @ targets[keep])
        best = max(best, measure(scores))
    return best


def neighbors_loo():
    """The share of the votes of the 20 nearest others, weighted by temperature 0.07."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -2)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :20]
    weights = np.exp(np.take_along_axis(similarity, nearest, 1) / 0.07)
    return np.einsum("qk,qkc->qc", weights / weights.sum(1, keepdims=True), member[nearest])


print(json.dumps({
    "features": x.ravel().tolist(), "labels": labels.tolist(), "classes": classes,
    "logme": float(np.mean([log_evidence(x, (labels == c).astype(float)) for c in range(classes)])),
    "linear": ridge_loo(np.eye(classes)[labels], lambda scores: 100 * np.mean(scores.argmax(1) == labels)),
    "sets": sets, "several": {
        "logme": float(np.mean([log_evidence(x, member[:, c]) for c in range(classes)])),
        "linear": ridge_loo(member, average_precision), "knn": average_precision(neighbors_loo()),
    },
}))
