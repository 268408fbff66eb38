"""Logistic regression on shares, small and without other libraries: what controlled win rates are read from."""

from __future__ import annotations

import numpy as np

STEPS, TOLERANCE = 100, 1e-10
FAR = 15.0  # a logit beyond which the likelihood is flat: the data are separated, coefficients are infinite


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0, -logits))


def log_loss(shares: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> float:
    """Weighted sum of -y log p - (1 - y) log(1 - p), nats."""
    return float(weights @ (np.logaddexp(0, logits) - shares * logits))


def fit_ridge(
    features: np.ndarray, shares: np.ndarray, *, weights: np.ndarray | None = None, ridge: np.ndarray | float = 0.0
) -> np.ndarray | str:
    """Coefficients [columns] that minimise weighted log loss + sum ridge_j w_j^2 / 2, by damped Newton steps.

    Args:
        features: [rows, columns], no intercept is added.
        shares: [rows] in 0 to 1: how much of a row is a win.
        ridge: one number, or one a column.

    Returns:
        The coefficients, or the reason why there are none.
    """
    rows, columns = features.shape
    weights = np.ones(rows) if weights is None else weights
    penalty = np.broadcast_to(np.asarray(ridge, dtype=float), columns)
    found = np.zeros(columns)

    def cost(point: np.ndarray) -> float:
        return log_loss(shares, features @ point, weights) + float(penalty @ point**2) / 2

    now = cost(found)
    for _ in range(STEPS):
        chances = sigmoid(features @ found)
        gradient = features.T @ (weights * (chances - shares)) + penalty * found
        curvature = weights * chances * (1 - chances)
        hessian = (features.T * curvature) @ features + np.diag(penalty)
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        size = 1.0
        while (then := cost(found - size * step)) > now and size > 1e-8:
            size /= 2
        found, before, now = found - size * step, now, min(then, now)
        if penalty.min(initial=np.inf) == 0 and np.abs(features @ found).max(initial=0) > FAR:
            return "wins and losses are separated by the features, so that the coefficients are infinite"
        if before - now <= TOLERANCE * (1 + abs(now)):
            break
    return found


def fit_lasso(features: np.ndarray, shares: np.ndarray, *, weights: np.ndarray, strength: float) -> np.ndarray:
    """Coefficients [columns] that minimise sum |w_j| + strength * weighted log loss (liblinear's form of the lasso).

    Newton steps whose quadratic model is minimised by coordinate descent with soft thresholds (Friedman, Hastie,
    Tibshirani 2010, section 3), halved until the cost falls.
    """
    found = np.zeros(features.shape[1])

    def cost(point: np.ndarray) -> float:
        return float(np.abs(point).sum()) + strength * log_loss(shares, features @ point, weights)

    now = cost(found)
    for _ in range(STEPS):
        chances = sigmoid(features @ found)
        gradient = strength * features.T @ (weights * (chances - shares))
        hessian = strength * (features.T * (weights * chances * (1 - chances))) @ features
        hessian[np.diag_indices_from(hessian)] += 1e-12
        target = _thresholded(found, gradient, hessian)
        size = 1.0
        while (then := cost(found + size * (target - found))) > now and size > 1e-8:
            size /= 2
        if then > now:
            break
        found, before, now = found + size * (target - found), now, then
        if before - now <= TOLERANCE * (1 + abs(now)):
            break
    return found


def _thresholded(start: np.ndarray, gradient: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Minimum of gradient . d + d . hessian . d / 2 + sum |start + d|, returned as start + d."""
    point = start.copy()
    for _ in range(STEPS):
        moved = 0.0
        for j in range(len(point)):
            slope = gradient[j] + hessian[j] @ (point - start)
            plain = point[j] - slope / hessian[j, j]
            new = np.sign(plain) * max(abs(plain) - 1 / hessian[j, j], 0.0)
            moved, point[j] = max(moved, abs(new - point[j])), new
        if moved < 1e-10 * (1 + np.abs(point).max()):
            break
    return point
