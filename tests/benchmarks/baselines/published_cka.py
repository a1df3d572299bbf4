"""RBF CKA the published way: full kernel matrices of both sides, made anew for every pair.

Frozen: this is what the project is compared with. Written for this comparison, with the steps and
the types of the published notebook: float64, one N x N product a side, the median by partial
sorting, symmetrised, a check of symmetry, a centred copy, and the product of the two.
"""

import numpy as np


def rbf_kernel(x):
    products = x.dot(x.T)
    norms = np.diag(products)
    squared = -2 * products + norms[:, None] + norms[None, :]
    kernel = np.exp(-squared / (2 * np.median(squared)))
    return (kernel + kernel.T) / 2


def centred(kernel):
    if not np.allclose(kernel, kernel.T):
        raise ValueError("a kernel matrix is symmetric")
    kernel = kernel.copy()
    means = kernel.mean(axis=0, dtype=np.float64)
    means -= means.mean() / 2
    kernel -= means[:, None]
    kernel -= means[None, :]
    return kernel


def cka(x, y):
    """CKA of two streams, [position, d_model], mean-centred over d_model."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    one, two = centred(rbf_kernel(x)), centred(rbf_kernel(y))
    return one.ravel().dot(two.ravel()) / (np.linalg.norm(one) * np.linalg.norm(two))
