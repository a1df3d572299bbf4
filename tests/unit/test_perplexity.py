"""Perplexity of whole texts: windows, losses, the user's files, the table."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_model import SHAPES, oracle_of, random_model

from headstability.analysis import perplexity
from headstability.analysis.perplexity import text_losses, text_nll, windows
from headstability.errors import UserError
from headstability.tables.ablation import perplexity_table
from headstability.text.encoding import token_texts
from headstability.text.token_files import TokenFile
from headstability.text.tokenizers import BOS, train_tokenizer

SEPARATOR = 3


@given(st.integers(1, 200), st.integers(2, 40))
def test_every_token_but_the_first_is_predicted_once(length, context):
    ids = np.arange(length)
    cut = windows(ids, context)
    assert [token for window in cut for token in window[1:]] == list(range(1, length))
    assert all(2 <= len(window) <= context for window in cut)
    assert all(len(window) == context for window in cut[:-1])
    assert all(one[-1] == two[0] for one, two in itertools.pairwise(cut))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("length", [2, 5, 24, 25, 70, 93])
def test_agrees_with_naive_loops(shape, length, monkeypatch):
    monkeypatch.setattr(perplexity, "PERPLEXITY_POSITIONS", 2 * shape.context)
    model = random_model(shape)
    ids = np.random.default_rng(length).integers(0, shape.vocabulary, length)
    ids[0] = ids[length // 2] = SEPARATOR
    ids[1] = 5
    total, count = oracle_of(model).text_nll(ids.tolist(), shape.context, SEPARATOR)
    found = text_nll(model, ids, SEPARATOR, shape.context)
    assert found[0] == count
    assert found[1] == pytest.approx(total, abs=1e-9)


def test_losses_of_several_texts():
    model = random_model(SHAPES[0])
    texts = {"a": np.array([3, 1, 4]), "b": np.array([3, 1, 4, 1, 5, 9, 2, 6] * 9)}
    table = text_losses(model, texts, SEPARATOR, SHAPES[0].context)
    assert table["text"].tolist() == ["a", "b"]
    assert table["tokens"].tolist() == [2, 9 * 7]
    assert np.allclose(table["perplexity"], np.exp(table["nll"] / table["tokens"]))


def test_a_model_that_knows_nothing_has_the_perplexity_of_the_vocabulary():
    model = random_model(SHAPES[0])
    with torch.no_grad():
        model.unembed.weight.zero_()
        model.unembed.bias.zero_()
    table = text_losses(model, {"a": np.arange(1, 45)}, bos=0, context=SHAPES[0].context)
    assert table["perplexity"].iloc[0] == pytest.approx(SHAPES[0].vocabulary)


# --- texts --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["some words of a corpus, some more words"] * 3, 280)


@pytest.fixture
def held_out(tokenizer):
    bos = tokenizer.token_to_id(BOS)
    return TokenFile(np.array([70, 71, bos, 72], dtype=np.uint16), bos, 280, "")


def test_texts_begin_with_one_beginning_token(tokenizer, held_out, tmp_path):
    path = tmp_path / "wiki.txt"
    path.write_bytes("\ufeffsome\r\nwörds".encode())
    texts = token_texts({"wiki": str(path)}, tokenizer, held_out)
    assert list(texts) == ["held_out", "wiki"]
    assert texts["held_out"].tolist() == [held_out.bos, 70, 71, held_out.bos, 72]
    assert texts["wiki"][0] == held_out.bos
    assert tokenizer.decode(texts["wiki"][1:].tolist()) == "some\nwörds"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"perplexity\.texts\.wiki: .*wiki\.txt does not exist"),
        (
            b"abc\xff",
            r"perplexity\.texts\.wiki: .*wiki\.txt is not UTF-8 \(byte 3 is 0xff\).*iconv",
        ),
        (b"", r"perplexity\.texts\.wiki: .*wiki\.txt holds no text to predict"),
        (BOS.encode(), r"holds no text to predict"),
    ],
)
def test_texts_that_cannot_be_read(tokenizer, held_out, tmp_path, content, message):
    path = tmp_path / "wiki.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        token_texts({"wiki": str(path)}, tokenizer, held_out)


# --- the table ----------------------------------------------------------------------------

VALUES = {
    ("0", "seed1"): 10.0,
    ("0", "seed2"): 20.0,
    ("0.1", "seed1"): 11.0,
    ("0.1", "seed2"): 19.0,
}


def losses(decays=("0", "0.1")):
    rows = [
        (a, w, r, text, 100, 100 * np.log(scale * value), scale * value)
        for a in ("deep", "flat")
        for (w, r), value in VALUES.items()
        for text, scale in (("held_out", 1.0), ("wiki", 3.0))
        if w in decays
    ]
    columns = ["architecture", "weight_decay", "refit", "text", "tokens", "nll", "perplexity"]
    return pd.DataFrame(rows, columns=columns)


def test_relative_differences_are_paired_by_seed():
    table = perplexity_table(losses())
    assert len(table) == 16 + 8
    chosen = table[(table["architecture"] == "deep") & (table["text"] == "wiki")]
    found = chosen.set_index(["weight_decay", "refit"])["relative_difference"]
    assert found["0.1", "seed1"] == pytest.approx(0.1)
    assert found["0.1", "seed2"] == pytest.approx(-0.05)
    assert found["0.1", "all"] == pytest.approx(0.025)
    assert found["0"].isna().all()
    means = chosen.set_index(["weight_decay", "refit"])["perplexity"]
    assert means["0.1", "all"] == pytest.approx(3 * 15)


def test_without_weight_decay_0_nothing_is_compared():
    table = perplexity_table(losses(decays=("0.1",)))
    assert table["relative_difference"].isna().all()
    assert table["perplexity"].notna().all()
