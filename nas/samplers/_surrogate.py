"""A Gaussian process over choices: what was not tried is like what differs in few choices from it.

Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006: algorithm 2.1 and section
5.4.1. The kernel is a sum of three: a product over the choices (a Hamming distance in which each
choice has a weight of its own), the same choices one by one (what a value is worth whatever the
others are), and a linear one over a few numbers that describe the architecture. How much each of
them counts, each group of numbers too, is learnt.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize

Floats = NDArray[np.float64]
STEPS = 15  # of the optimiser; each costs a Cholesky decomposition
FITTED = 80  # points from which the hyper-parameters are learnt
JITTER = 1e-6
LENGTH = 2.0  # prior sum of the choices' weights
# Log-normal priors: mean and spread of the log variances (product, one by one, each group of
# numbers), the weights and the noise, in units of the values' own spread.
PRODUCT, SINGLE, LINEAR, NOISE = 0.0, 0.0, -1.0, -4.0
SPREAD, WEIGHT_SPREAD = 1.5, 1.0
FURTHEST = 4.0  # from the prior's mean


class Points(NamedTuple):
    """Architectures as the model sees them, a row each.

    `values` (n, values) has a column per value of each choice, `owner` (values,) numbers the
    columns' choices, and each row's part of a choice has length 1; `numbers` (n, descriptors) are
    scaled, and `group` (descriptors,) numbers the groups that count together.
    """

    values: Floats
    numbers: Floats
    owner: NDArray[np.intp]
    group: NDArray[np.intp]

    def take(self, rows: Any) -> "Points":
        """Return some of the rows."""
        return self._replace(values=self.values[rows], numbers=self.numbers[rows])

    def join(self, others: "Points") -> "Points":
        """Return these rows and others."""
        return self._replace(
            values=np.vstack([self.values, others.values]),
            numbers=np.vstack([self.numbers, others.numbers]),
        )


class Theta(NamedTuple):
    """The hyper-parameters: variances of the three kernels, a weight per choice, the noise."""

    product: float
    single: float
    weights: Floats
    linear: Floats
    noise: float

    @classmethod
    def of(cls, log: Floats, choices: int) -> "Theta":
        """Read them from the vector of their logarithms, in this order."""
        product, single, *rest = np.exp(log)
        weights, linear = np.array(rest[:choices]), np.array(rest[choices:-1])
        return cls(product, single, weights, linear, rest[-1])

    def scale(self, points: Points) -> Floats:
        """Return what each number is multiplied by: groups have their variance between them."""
        counts = np.bincount(points.group, minlength=len(self.linear))
        return np.asarray(np.sqrt(self.linear / np.maximum(1, counts))[points.group])


class Surrogate:
    """A model of `targets` at `points`; `extra` is noise variance beyond what is learnt, per point.

    `fitted` names the points that the hyper-parameters are learnt from, `slopes` (descriptors,) the
    prior means of what each number is worth, in spreads of the targets; by default 0.
    """

    def __init__(
        self,
        points: Points,
        targets: Floats,
        extra: Floats,
        fitted: Any,
        slopes: Floats | None = None,
    ) -> None:
        self.mean = float(targets.mean())
        self.spread = float(targets.std()) or 1.0
        self.slopes = np.zeros(points.numbers.shape[1]) if slopes is None else slopes
        scaled, extra = (targets - self.mean) / self.spread, extra / self.spread**2
        scaled = scaled - points.numbers @ self.slopes
        self.theta = _fit(points.take(fitted), scaled[fitted], extra[fitted])
        self._condition(points, scaled, extra)

    def _condition(self, points: Points, scaled: Floats, extra: Floats) -> None:
        self.points, self.scaled, self.extra = points, scaled, extra
        covariance = sum(_kernel(self.theta, points, points)[:3])
        self.lower = _cholesky(np.asarray(covariance), self.theta.noise + extra)
        self.alpha: Floats = cho_solve((self.lower, True), scaled)

    def predict(self, points: Points) -> tuple[Floats, Floats]:
        """Return the mean and the spread of the noiseless value at each point."""
        cross = np.asarray(sum(_kernel(self.theta, points, self.points)[:3]))
        whitened = solve_triangular(self.lower, cross.T, lower=True)
        variance = _diagonal(self.theta, points) - (whitened**2).sum(axis=0)
        spread: Floats = np.sqrt(np.maximum(variance, 1e-12)).astype(np.float64)
        mean = cross @ self.alpha + points.numbers @ self.slopes
        return self.mean + self.spread * mean, self.spread * spread

    def expect(self, points: Points) -> Floats:
        """Return the mean alone at each point, in spreads of the targets from their mean."""
        cross = np.asarray(sum(_kernel(self.theta, points, self.points)[:3]))
        return np.asarray(cross @ self.alpha + points.numbers @ self.slopes)

    def learnt(self) -> Floats:
        """Return what each number (descriptors,) is expected to be worth, in the targets' spreads.

        Rasmussen and Williams, section 2.7.
        """
        variances = self.theta.scale(self.points) ** 2
        return np.asarray(self.slopes + variances * (self.points.numbers.T @ self.alpha))

    def believe(self, points: Points) -> None:
        """Take what is predicted at points being evaluated for what they will give.

        Kriging believer: Ginsbourger et al., 2010. The spread around them shrinks, the mean stays.
        """
        believed = (self.predict(points)[0] - self.mean) / self.spread
        believed -= points.numbers @ self.slopes
        extra = np.append(self.extra, np.zeros(len(believed)))
        self._condition(self.points.join(points), np.append(self.scaled, believed), extra)


def _cholesky(covariance: Floats, noise: Floats) -> Floats:
    covariance[np.diag_indices(len(covariance))] += noise + JITTER
    return np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)


def _kernel(theta: Theta, a: Points, b: Points) -> tuple[Floats, Floats, Floats]:
    """Return the three covariances, (len(a), len(b)) each."""
    same = (a.values * theta.weights[a.owner]) @ b.values.T  # the weighted number of equal choices
    product = theta.product * np.exp(same - theta.weights.sum())
    single = theta.single * same / theta.weights.sum()
    scale = theta.scale(a)
    return product, single, (a.numbers * scale) @ (b.numbers * scale).T


def _diagonal(theta: Theta, a: Points) -> Floats:
    linear = ((a.numbers * theta.scale(a)) ** 2).sum(axis=1)
    return np.asarray(theta.product + theta.single + linear)


def _fit(points: Points, scaled: Floats, extra: Floats) -> Theta:
    """Return the hyper-parameters of the largest posterior."""
    choices = int(points.owner.max()) + 1
    groups = int(points.group.max(initial=-1)) + 1
    weights = [float(np.log(LENGTH / choices))] * choices
    prior = np.array([PRODUCT, SINGLE, *weights, *[LINEAR] * groups, NOISE])
    spreads = np.full(len(prior), SPREAD)
    spreads[2 : 2 + choices] = WEIGHT_SPREAD

    def loss(log: Floats) -> tuple[float, Floats]:
        value, slope = _loss(Theta.of(log, choices), points, scaled, extra)
        away = (log - prior) / spreads
        return value + 0.5 * float(away @ away), slope + away / spreads

    found = minimize(
        loss,
        prior,
        jac=True,
        method="L-BFGS-B",
        bounds=[(mean - FURTHEST, mean + FURTHEST) for mean in prior],
        options={"maxiter": STEPS, "maxfun": STEPS + 5},
    )
    return Theta.of(np.asarray(found.x), choices)


def _loss(theta: Theta, points: Points, scaled: Floats, extra: Floats) -> tuple[float, Floats]:
    """Return the negative log marginal likelihood, less a constant, and its slope."""
    product, single, linear = _kernel(theta, points, points)
    lower = _cholesky(product + single + linear, theta.noise + extra)
    inverse = cho_solve((lower, True), np.eye(len(scaled)))
    alpha = inverse @ scaled
    pull = 0.5 * (np.outer(alpha, alpha) - inverse)
    pulled = pull * product
    weights, whole = theta.weights, float((pull * single).sum())

    def equal(matrix: Floats) -> Floats:
        """Sum a matrix over the pairs with the same value, choice by choice."""
        each = (points.values * (matrix @ points.values)).sum(axis=0)
        return np.bincount(points.owner, each, len(weights)).astype(np.float64)

    numbers = points.numbers * theta.scale(points)
    told = (numbers * (pull @ numbers)).sum(axis=0)
    by_weight = weights * (equal(pulled) - pulled.sum())
    by_weight += weights / weights.sum() * (theta.single * equal(pull) - whole)
    slope = np.array(
        [
            pulled.sum(),
            whole,
            *by_weight,
            *np.bincount(points.group, told, len(theta.linear)),
            theta.noise * np.trace(pull),
        ]
    )
    value = 0.5 * float(scaled @ alpha) + float(np.log(np.diag(lower)).sum())
    return value, -slope
