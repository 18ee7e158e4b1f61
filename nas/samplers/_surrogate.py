"""A Gaussian process over choices: what was not tried is like what differs in few choices from it.

Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006: algorithm 2.1 and section
5.4.1. The kernel is a sum of three: a product over the choices (a Hamming distance in which each
choice has a weight of its own), the same choices one by one (what a value is worth whatever the
others are), and a linear one over a few numbers that describe the architecture.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Parts = tuple[Floats, Floats, Floats]
STEPS = 20  # of the optimiser; each costs a Cholesky decomposition
FITTED = 100  # points from which the hyper-parameters are learnt
JITTER = 1e-6
LENGTH = 2.0  # prior sum of the choices' weights
# Log-normal priors: mean and spread of the log variances (product, one by one, linear), the weights
# and the noise, in units of the values' own spread.
VARIANCES, NOISE = np.array([0.0, 0.0, -1.0]), -4.0
SPREAD, WEIGHT_SPREAD = 1.5, 1.0
FURTHEST = 4.0  # from the prior's mean


class Points(NamedTuple):
    """Architectures as the model sees them, a row each.

    `values` (n, values) has a column per value of each choice, `owner` (values,) numbers the
    columns' choices, and each row's part of a choice has length 1; `numbers` (n, descriptors) are
    scaled.
    """

    values: Floats
    numbers: Floats
    owner: NDArray[np.intp]

    def take(self, rows: Any) -> "Points":
        """Return some of the rows."""
        return Points(self.values[rows], self.numbers[rows], self.owner)


class Surrogate:
    """A model of `targets` at `points`; `extra` is noise variance beyond what is learnt, per point.

    `fitted` names the points that the hyper-parameters are learnt from.
    """

    def __init__(self, points: Points, targets: Floats, extra: Floats, fitted: Any) -> None:
        self.mean = float(targets.mean())
        self.spread = float(targets.std()) or 1.0
        scaled, extra = (targets - self.mean) / self.spread, extra / self.spread**2
        self.theta = _fit(points.take(fitted), scaled[fitted], extra[fitted])
        self._condition(points, scaled, extra)

    def _condition(self, points: Points, scaled: Floats, extra: Floats) -> None:
        self.points, self.scaled, self.extra = points, scaled, extra
        covariance = _total(_kernel(self.theta, points, points)[0])
        self.lower = _cholesky(covariance, np.exp(self.theta[-1]) + extra)
        self.alpha: Floats = cho_solve((self.lower, True), scaled)

    def predict(self, points: Points) -> tuple[Floats, Floats]:
        """Return the mean and the spread of the noiseless value at each point."""
        cross = _total(_kernel(self.theta, points, self.points)[0])
        whitened = solve_triangular(self.lower, cross.T, lower=True)
        variance = _diagonal(self.theta, points) - (whitened**2).sum(axis=0)
        spread: Floats = np.sqrt(np.maximum(variance, 1e-12)).astype(np.float64)
        return self.mean + self.spread * (cross @ self.alpha), self.spread * spread

    def believe(self, points: Points) -> None:
        """Take what is predicted at points being evaluated for what they will give.

        Kriging believer: Ginsbourger et al., 2010. The spread around them shrinks, the mean stays.
        """
        believed = (self.predict(points)[0] - self.mean) / self.spread
        values, numbers, owner = self.points
        joined = Points(
            np.vstack([values, points.values]), np.vstack([numbers, points.numbers]), owner
        )
        extra = np.append(self.extra, np.zeros(len(believed)))
        self._condition(joined, np.append(self.scaled, believed), extra)


def _cholesky(covariance: Floats, noise: Floats) -> Floats:
    covariance[np.diag_indices(len(covariance))] += noise + JITTER
    return np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)


def _total(parts: Parts) -> Floats:
    product, single, linear = parts
    return product + single + linear


def _kernel(theta: Floats, a: Points, b: Points) -> tuple[Parts, Floats]:
    """Return the three covariances (len(a), len(b)) and the weighted number of equal choices."""
    weights = np.exp(theta[3:-1])
    same = (a.values * weights[a.owner]) @ b.values.T
    product = np.exp(theta[0] + same - weights.sum())
    single = np.exp(theta[1]) * same / weights.sum()
    linear = np.exp(theta[2]) * (a.numbers @ b.numbers.T) / max(1, a.numbers.shape[1])
    return (product, single, linear), same


def _diagonal(theta: Floats, a: Points) -> Floats:
    linear = np.exp(theta[2]) * (a.numbers**2).sum(axis=1) / max(1, a.numbers.shape[1])
    return np.asarray(np.exp(theta[0]) + np.exp(theta[1]) + linear)


def _fit(points: Points, scaled: Floats, extra: Floats) -> Floats:
    """Return the log hyper-parameters: three variances, a weight per choice, the noise."""
    choices = int(points.owner.max()) + 1
    weights = np.full(choices, np.log(LENGTH / choices))
    prior = np.concatenate([VARIANCES, weights, [NOISE]])
    spreads = np.full(len(prior), SPREAD)
    spreads[3:-1] = WEIGHT_SPREAD

    def loss(theta: Floats) -> tuple[float, Floats]:
        value, slope = _loss(theta, points, scaled, extra)
        away = (theta - prior) / spreads
        return value + 0.5 * float(away @ away), slope + away / spreads

    found = minimize(
        loss,
        prior,
        jac=True,
        method="L-BFGS-B",
        bounds=[(mean - FURTHEST, mean + FURTHEST) for mean in prior],
        options={"maxiter": STEPS, "maxfun": STEPS + 5},
    )
    return np.asarray(found.x)


def _loss(theta: Floats, points: Points, scaled: Floats, extra: Floats) -> tuple[float, Floats]:
    """Return the negative log marginal likelihood, less a constant, and its slope."""
    (product, single, linear), _ = _kernel(theta, points, points)
    noise = np.exp(theta[-1])
    lower = _cholesky(product + single + linear, noise + extra)
    alpha = cho_solve((lower, True), scaled)
    inverse = cho_solve((lower, True), np.eye(len(scaled)))
    pull = 0.5 * (np.outer(alpha, alpha) - inverse)
    pulled = pull * product
    weights = np.exp(theta[3:-1])

    def equal(matrix: Floats) -> Floats:
        """Sum a matrix over the pairs with the same value, choice by choice."""
        each = (points.values * (matrix @ points.values)).sum(axis=0)
        return np.bincount(points.owner, each, len(weights)).astype(np.float64)

    whole = float((pull * single).sum())
    slope = np.empty_like(theta)
    slope[0], slope[1], slope[2] = pulled.sum(), whole, (pull * linear).sum()
    slope[3:-1] = weights * (equal(pulled) - pulled.sum())
    slope[3:-1] += weights / weights.sum() * (np.exp(theta[1]) * equal(pull) - whole)
    slope[-1] = noise * np.trace(pull)
    value = 0.5 * float(scaled @ alpha) + float(np.log(np.diag(lower)).sum())
    return value, -slope
