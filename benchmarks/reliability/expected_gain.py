"""A rule that looks at what a kernel is expected to bring, given what the others of its level
brought: empirical Bayes over the domains.

The true gains of a level's domains on a task are drawn from N(mu, tau^2), and a measured difference
from N(gain, its standard error^2): the normal-normal model (Gelman et al., Bayesian Data Analysis,
section 5.4). mu ~ N(0, s^2) and tau ~ half-normal(s) with s of half an AUC point, so that one
domain alone can be judged too (our choice). A kernel's worth is the mean of its tasks' gains, whose
errors are taken as going together, which is the careful side.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from configs.training import Activation
from trainer.evaluation.activation import Evidence

Floats = NDArray[np.float64]

_SCALE = 0.005  # AUC
_TAUS = _SCALE * np.linspace(0.0, 4.0, 41)


def chances_of_a_gain(evidence: Mapping[str, Evidence], settings: Activation) -> dict[str, float]:
    """Domain -> probability that the mean of its tasks' true gains is above 0, of those domains
    where a task has enough positives.
    """
    means: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {}
    for task in dict.fromkeys(task for found in evidence.values() for task in found.tests):
        tests = {
            domain: found.defined()[task]
            for domain, found in evidence.items()
            if task in found.defined() and found.positives[task] >= settings.minimum_positives
        }
        posterior = shrink(
            np.array([test.delta for test in tests.values()]),
            np.array([test.standard_error for test in tests.values()]),
        )
        for domain, mean, error in zip(tests, *posterior, strict=True):
            means.setdefault(domain, []).append(mean)
            errors.setdefault(domain, []).append(error)
    return {
        domain: float(ndtr(np.mean(means[domain]) / max(float(np.mean(errors[domain])), 1e-12)))
        for domain in means
    }


def shrink(deltas: Floats, standard_errors: Floats) -> tuple[Floats, Floats]:
    """The gains' posterior means and standard deviations, ``[domains]`` each."""
    tau = _TAUS[:, None]
    variance = standard_errors**2 + tau**2 + 1e-18  # of a difference around mu, [taus, domains]
    precision = 1.0 / _SCALE**2 + (1.0 / variance).sum(axis=1, keepdims=True)
    mu = (deltas / variance).sum(axis=1, keepdims=True) / precision
    log_weight = (
        -0.5 * np.log(variance).sum(axis=1, keepdims=True)
        - 0.5 * (deltas**2 / variance).sum(axis=1, keepdims=True)
        + 0.5 * mu**2 * precision
        - 0.5 * np.log(precision)
        - 0.5 * (tau / _SCALE) ** 2
    )
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    kept = standard_errors**2 / variance  # how far a difference is drawn to mu
    mean = (1.0 - kept) * deltas + kept * mu
    spread = (1.0 - kept) * standard_errors**2 + kept**2 / precision
    average = (weight * mean).sum(axis=0)
    return average, np.sqrt((weight * (spread + (mean - average) ** 2)).sum(axis=0))
