from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headstability.text.token_files import TokenFile
from headstability.training import batches
from headstability.training.batches import Batches, RowOrder

CPU = torch.device("cpu")


@given(st.integers(1, 40), st.integers(1, 13), st.integers(0, 5))
def test_rows_come_once_an_epoch_in_an_order_of_their_own(rows, batch, seed):
    order = RowOrder(rows, seed)
    steps = -(-3 * rows // batch)
    seen = np.concatenate([order.batch(step, batch) for step in range(steps)])[: 3 * rows]
    for epoch in seen.reshape(3, rows):
        assert sorted(epoch) == list(range(rows))
    late = RowOrder(rows, seed)
    assert np.array_equal(late.batch(steps - 1, batch), order.batch(steps - 1, batch))
    if rows > 12:
        assert not np.array_equal(*seen.reshape(3, rows)[:2])


def naive_batch(ids, bos, context, seed, step, size):
    """A batch from the definition on the methods page, one place at a time."""
    count = len(ids) // (context - 1)
    rows = []
    for place in range(step * size, (step + 1) * size):
        epoch, within = divmod(place, count)
        row = np.random.default_rng([seed, epoch]).permutation(count)[within]
        first = row * (context - 1)
        rows.append([bos, *ids[first : first + context - 1].tolist()])
    return rows


@pytest.mark.parametrize("at_once", [1, 24, 2**20])
def test_batches_are_those_of_the_methods_page(monkeypatch, at_once):
    monkeypatch.setattr(batches, "TOKENS_AHEAD", at_once)
    ids = np.random.default_rng(5).integers(1, 300, 61).astype(np.uint16)
    tokens = TokenFile(ids, bos=0, vocabulary=300, sha256="")
    context, size, steps, seed = 6, 5, 9, 3
    made = Batches(tokens, RowOrder(tokens.row_count(context), seed), size, context, steps, CPU)
    # In order, as training asks; and from the middle, as a resumed cell does.
    for step in [*range(steps), 4, 5, 0]:
        batch = made.of(step)
        assert batch.dtype == torch.int64
        assert batch.tolist() == naive_batch(ids, 0, context, seed, step, size)


def test_many_steps_at_once_are_the_steps_one_by_one():
    for first, last in pairwise([0, 1, 4, 11, 30]):
        together = RowOrder(13, 2).batch(first, 4, last - first)
        single = [RowOrder(13, 2).batch(step, 4) for step in range(first, last)]
        assert together.tolist() == np.concatenate(single).tolist()


def test_nothing_is_gathered_beyond_the_last_step():
    tokens = TokenFile(np.arange(1, 51), bos=0, vocabulary=51, sha256="")
    made = Batches(tokens, RowOrder(10, 0), 2, 6, 3, CPU)
    made.of(1)
    assert made.ready.shape == (2, 2, 6)
