"""Centred kernel alignment of residual streams (docs/experiments.md, "Residual stream").

Arrays only. All pairs of refits at once: each refit's N x N kernel matrix is centred once and
processed one slab of rows at a time for all refits together, so that one product of the stacked
slabs serves every pair.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

KERNELS = ("rbf", "linear")
ESTIMATORS = ("biased", "debiased")

# Entries of one kernel's slab, all refits together: 96 MiB of float32 whatever their number.
SLAB_ENTRIES = 3 * 2**23
MOST_ROWS = 256
# A vector is massive if its squared norm is this many times the median squared norm.
MASSIVE = 16
# Entries of one refit's distances that are kept, not recomputed, while their median is found:
# 256 MiB of float32.
HELD_ENTRIES = 2**26
# Columns multiplied in float32 before the sum goes to float64.
GEMM_COLUMNS = 2**16
# Rows sampled to locate the vectors and to bracket the median of distances; width of the bracket.
SAMPLED_ROWS = 128
MARGINS = (0.05, 0.2, 0.5)


def cka(
    streams: Iterable[np.ndarray], threads: int = 1, kernels: Sequence[str] = KERNELS
) -> dict[tuple[str, str], np.ndarray]:
    """CKA of every two refits.

    Kornblith et al. 2019, with the biased estimator of HSIC (Gretton et al. 2005) and the
    unbiased one (Song et al. 2012). The RBF kernel is exp(-d^2 / (2 m)) with m the median of all
    N^2 squared distances, the diagonal included. Products are float32, sums float64.

    Args:
        streams: of each refit, [position, d_model]; positions correspond. The mean over d_model is
            subtracted from each vector. Read one by one: a generator need not hold them all.
        threads: number of threads; the result does not depend on it.
        kernels: which of KERNELS.

    Returns:
        By kernel and estimator (of ESTIMATORS), [refit, refit], symmetric, 1 on the diagonal. NaN
        where HSIC of a refit with itself is not positive (all vectors equal, or fewer than 4
        positions for the debiased one), or where the median is 0.

    Raises:
        ValueError: refits have different numbers of positions, or there is none.
    """
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        refits = [_Refit(x) for x in streams]
        if len({len(refit.x) for refit in refits}) != 1:
            raise ValueError("streams of different lengths cannot be compared")
        positions = len(refits[0].x)
        rows = max(1, min(MOST_ROWS, SLAB_ENTRIES // (len(refits) * positions)))
        list(pool.map(lambda refit: refit.prepare(rows, kernels), refits))
        products = _pair_products(refits, kernels, rows, pool)
    found = {}
    for kernel in kernels:
        diagonals = np.stack([refit.diagonal[kernel] for refit in refits])
        for estimator, values in _estimates(products[kernel], diagonals).items():
            found[kernel, estimator] = values
    return found


class _Refit:
    """One refit: its stream, and what is needed to centre its kernel matrices.

    Attributes:
        x: its stream less each vector's mean over d_model, [position, d_model], float32, with the
            origin and scale of typical vectors (massive ones would distort their mean). CKA
            depends on neither.
        sampled: indices of some vectors.
        squares: squared norms of its vectors, [position].
        far: indices of massive vectors, such as those of BOS in many models.
        apart: squared distances between these, computed in float64: in float32 they would drown
            in the rounding of the norms.
        scale: 1 / (2 m) of the RBF kernel; NaN if m is 0.
        shift: by kernel, what centring subtracts from an entry for its row and again for its
            column: the row's mean less half the mean of all, [position].
        diagonal: by kernel, of the centred matrix, [position].
    """

    def __init__(self, x: np.ndarray) -> None:
        exact = np.asarray(x, dtype=np.float64)
        exact = exact - exact.mean(axis=1, keepdims=True)
        # Some random vectors: evenly spaced ones could all be those of BOS.
        count = min(SAMPLED_ROWS, len(exact))
        self.sampled = np.sort(np.random.default_rng(0).permutation(len(exact))[:count])
        exact -= np.median(exact[self.sampled], axis=0)
        size = np.sqrt(np.mean(np.square(exact).sum(axis=1)))
        exact /= size if size > 0 else 1
        squares = np.square(exact).sum(axis=1)
        self.x = np.ascontiguousarray(exact, dtype=np.float32)
        self.far = np.flatnonzero(squares > MASSIVE * np.median(squares))
        between = exact[self.far] @ exact[self.far].T
        own = np.diagonal(between)
        self.apart = (own[:, None] + own - 2 * between).astype(np.float32)
        self.squares = squares.astype(np.float32)
        self.scale = np.float32(np.nan)
        self.shift: dict[str, np.ndarray] = {}
        self.diagonal: dict[str, np.ndarray] = {}

    def prepare(self, rows: int, kernels: Sequence[str]) -> None:
        """Find what the slabs of `kernels`, of `rows` rows each, will be centred with."""
        if "rbf" in kernels:
            self._prepare_rbf(list(_slabs(len(self.x), rows)))
        if "linear" in kernels:
            mean = self.x.mean(axis=0, dtype=np.float64)
            self._centre("linear", self.x.astype(np.float64) @ mean, self.squares)

    def distances(self, slab: slice, products: np.ndarray | None = None) -> np.ndarray:
        """Squared distances between a slab's rows and all vectors from its first row on.

        They overwrite `products`, the inner products of the same, if these are given.
        """
        after = slice(slab.start, None)
        out = self.x[slab] @ self.x[after].T if products is None else products
        out *= -2
        out += self.squares[slab, None]
        out += self.squares[after]
        np.maximum(out, 0, out=out)
        first, last = np.searchsorted(self.far, [slab.start, slab.stop])
        places = self.far[first:] - slab.start
        out[np.ix_(places[: last - first], places)] = self.apart[first:last, first:]
        np.fill_diagonal(out, 0)
        return out

    def rbf(self, distances: np.ndarray) -> np.ndarray:
        """The RBF kernel of squared distances, in place."""
        distances *= -self.scale
        return np.exp(distances, out=distances)

    def _prepare_rbf(self, slabs: Sequence[slice]) -> None:
        count = len(self.x)
        held: list[np.ndarray] | None = None
        if count**2 // 2 <= HELD_ENTRIES:
            held = [self.distances(slab) for slab in slabs]

        def blocks() -> Iterator[np.ndarray]:
            return iter(held) if held is not None else map(self.distances, slabs)

        products = self.x[self.sampled] @ self.x.T
        sample = self.squares[self.sampled, None] + self.squares - 2 * products
        median = median_of_all(blocks, count, sample)
        if median > 0:
            self.scale = np.float32(1 / (2 * median))
        sums = np.zeros(count)
        for slab, block in zip(slabs, blocks(), strict=True):
            kernel = self.rbf(block)
            # Rounding here shifts centring by 1e-7, which enters products only squared.
            sums[slab] += kernel @ np.ones(kernel.shape[1], dtype=np.float32)
            rest = kernel[:, len(kernel) :]
            sums[slab.stop :] += np.ones(len(rest), dtype=np.float32) @ rest
        self._centre("rbf", sums / count, np.ones(count))

    def _centre(self, kernel: str, means: np.ndarray, diagonal: np.ndarray) -> None:
        shift = means - np.mean(means, dtype=np.float64) / 2
        self.diagonal[kernel] = diagonal - 2 * np.asarray(shift, dtype=np.float64)
        self.shift[kernel] = shift.astype(np.float32)


def _slabs(positions: int, rows: int) -> Iterator[slice]:
    for start in range(0, positions, rows):
        yield slice(start, min(start + rows, positions))


def median_of_all(
    blocks: Callable[[], Iterator[np.ndarray]], count: int, sample: np.ndarray
) -> float:
    """The exact median of all count^2 entries of a symmetric matrix with a zero diagonal.

    A sample of entries brackets the median; one pass counts the entries below and collects those
    inside.

    Args:
        blocks: the matrix by slabs of rows, each from its first row's column on, non-negative;
            called anew for every pass.
        count: rows of the matrix.
        sample: some of its entries.
    """
    # Ranks of the two middle entries: the zeros come first, all others occur twice.
    ranks = [(rank - count) // 2 for rank in ((count**2 - 1) // 2, count**2 // 2)]
    if ranks[1] < 0:
        return 0.0
    for margin in MARGINS:
        low, high = np.quantile(sample, [0.5 - margin, 0.5 + margin])
        low, high = (-1, np.inf) if margin == MARGINS[-1] else (low, high)
        below, within = 0, []
        for block in blocks():
            inner = block[:, : len(block)][np.triu_indices(len(block), 1)]
            for part in (inner, block[:, len(block) :]):
                below += int(np.count_nonzero(part < low))
                within.append(part[(part >= low) & (part <= high)])
        collected = np.concatenate(within)
        places = [rank - below for rank in ranks]
        if (places[0] >= 0 or ranks[0] < 0) and 0 <= places[1] < len(collected):
            break
    collected.partition([place for place in places if place >= 0])
    middle = [collected[p] if r >= 0 else 0 for p, r in zip(places, ranks, strict=True)]
    return float(np.mean(middle, dtype=np.float64))


def _pair_products(
    refits: Sequence[_Refit], kernels: Sequence[str], rows: int, pool: ThreadPoolExecutor
) -> dict[str, np.ndarray]:
    """Sums of the products of every two refits' centred kernel matrices, diagonals left out.

    Matrices are symmetric: entries right of a slab's square count twice, so its square is weighted
    by a half.
    """
    positions, count = len(refits[0].x), len(refits)
    totals = {kernel: np.zeros((count, count)) for kernel in kernels}
    rooms = {kernel: np.empty(count * rows * positions, dtype=np.float32) for kernel in kernels}
    for slab in _slabs(positions, rows):
        size = (count, slab.stop - slab.start, positions - slab.start)
        stacks = {kernel: room[: np.prod(size)].reshape(size) for kernel, room in rooms.items()}

        def fill(number: int, slab: slice = slab, stacks: dict = stacks) -> None:
            _fill(refits[number], slab, {name: s[number] for name, s in stacks.items()})

        list(pool.map(fill, range(count)))
        for kernel, stack in stacks.items():
            flat = stack.reshape(count, -1)
            parts = [flat[:, i : i + GEMM_COLUMNS] for i in range(0, flat.shape[1], GEMM_COLUMNS)]
            for product in pool.map(lambda part: part @ part.T, parts):
                totals[kernel] += product
    return {kernel: 2 * total for kernel, total in totals.items()}


def _fill(refit: _Refit, slab: slice, out: dict[str, np.ndarray]) -> None:
    """Write one refit's centred slab of every kernel."""
    after = slice(slab.start, None)
    room = out.get("rbf", out.get("linear"))
    np.matmul(refit.x[slab], refit.x[after].T, out=room)
    if "linear" in out and room is not out["linear"]:
        out["linear"][:] = room
    if "rbf" in out:
        refit.rbf(refit.distances(slab, out["rbf"]))
    for kernel, values in out.items():
        values -= refit.shift[kernel][slab, None]
        values -= refit.shift[kernel][after]
        values[:, : len(values)] *= np.float32(np.sqrt(0.5))
        np.fill_diagonal(values, 0)


def _estimates(products: np.ndarray, diagonals: np.ndarray) -> dict[str, np.ndarray]:
    """CKA with both estimators of HSIC.

    From the products [refit, refit] of centred matrices without their diagonals [refit, position]:
    rows of such a matrix sum to minus the diagonal, so Song's estimator needs no more.
    """
    count = diagonals.shape[1]
    own = diagonals @ diagonals.T
    debiased = np.full_like(products, np.nan)
    if count > 3:
        sums = diagonals.sum(axis=1)
        debiased = products - 2 / (count - 2) * own
        debiased += np.outer(sums, sums) / ((count - 1) * (count - 2))
    return {"biased": _normalised(products + own), "debiased": _normalised(debiased)}


def _normalised(hsic: np.ndarray) -> np.ndarray:
    own = np.diagonal(hsic)
    size = np.sqrt(np.where(own > 0, own, np.nan))
    return hsic / np.outer(size, size)
