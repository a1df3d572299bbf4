"""Naive float64 versions of what is computed on residual streams, from the formulas of the paper.

Nothing here imports the library.
"""

import numpy as np


def rbf_kernel(x):
    """exp(-d^2 / (2 m)), m the median of all squared distances, the diagonal included."""
    count = len(x)
    squared = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            squared[i, j] = ((x[i] - x[j]) ** 2).sum()
    return np.exp(-squared / (2 * np.median(squared)))


def linear_kernel(x):
    return np.array([[a @ b for b in x] for a in x])


def biased_hsic(k, n):
    """Gretton et al. 2005, without its constant."""
    count = len(k)
    h = np.eye(count) - np.ones((count, count)) / count
    return np.trace(k @ h @ n @ h)


def debiased_hsic(k, n):
    """Song et al. 2012, equation 5."""
    count = len(k)
    k, n = k - np.diag(np.diag(k)), n - np.diag(np.diag(n))
    one = np.ones(count)
    total = np.trace(k @ n) + (one @ k @ one) * (one @ n @ one) / ((count - 1) * (count - 2))
    total -= 2 / (count - 2) * (one @ k @ n @ one)
    return total / (count * (count - 3))


KERNELS = {"rbf": rbf_kernel, "linear": linear_kernel}
ESTIMATORS = {"biased": biased_hsic, "debiased": debiased_hsic}


def shuffled(x, y, lengths):
    """Debiased linear CKA with the prompts of y shifted, as far as both prompts reach."""
    starts = np.cumsum(lengths) - lengths
    found = []
    for shift in range(1, min(6, len(lengths))):
        ours, theirs = [], []
        for p, start in enumerate(starts):
            other = (p + shift) % len(lengths)
            for t in range(min(lengths[p], lengths[other])):
                ours.append(x[start + t])
                theirs.append(y[starts[other] + t])
        found.append(cka(ours, theirs, "linear", "debiased"))
    return np.mean(found)


def cka(x, y, kernel, estimator):
    """CKA of two streams [position, d_model], mean-centred over d_model first."""
    x, y = (np.asarray(v, dtype=np.float64) for v in (x, y))
    x, y = (v - v.mean(axis=1, keepdims=True) for v in (x, y))
    k, n = KERNELS[kernel](x), KERNELS[kernel](y)
    hsic = ESTIMATORS[estimator]
    return hsic(k, n) / np.sqrt(hsic(k, k) * hsic(n, n))
