"""Tokenising jobs that are killed, and documents that come tokenised."""

from pathlib import Path

import pytest
from test_tokens import TEXTS, tokenise

from headstability.errors import UserError
from headstability.text import encoding as tokenising
from headstability.text.corpus import Document, write_documents
from headstability.text.encoding import write_tokens
from headstability.text.token_files import open_tokens
from headstability.text.tokenizers import BOS, save_tokenizer, train_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 300)


@pytest.fixture
def paths(tokenizer, tmp_path):
    names = ("train.bin", "held_out.bin", "tokenizer.json", "documents.jsonl")
    found = {name.split(".")[0]: str(tmp_path / name) for name in names}
    save_tokenizer(tokenizer, found["tokenizer"])
    return {**found, "manifest": str(tmp_path / "tokens.json")}


class Killed(Exception):
    """Stands in for the end of a process."""


@pytest.mark.parametrize("after", [1, 3, 6])
def test_a_killed_job_goes_on_to_the_same_bytes(tokenizer, paths, monkeypatch, after):
    monkeypatch.setattr(tokenising, "BATCH_BYTES", 400)
    splits = {"train": [f"document {i}" for i in range(60)], "held_out": ["one", "two"]}
    tokenise(tokenizer, splits, paths)
    kept = ("train", "held_out", "manifest")
    whole = {name: Path(paths[name]).read_bytes() for name in kept}
    for name in kept:
        Path(paths[name]).unlink()
    seen = []

    def update(done):
        seen.append(done)
        if len(seen) == after:
            raise Killed

    with pytest.raises(Killed):
        tokenise(tokenizer, splits, paths, save_seconds=0, update=update)
    assert not any(Path(paths[name]).exists() for name in kept)
    tokenise(tokenizer, splits, paths, save_seconds=0, update=seen.append)
    assert seen[after] == seen[after - 1], "what came after the last save is done again"
    assert seen == sorted(seen), "and nothing else"
    assert {name: Path(paths[name]).read_bytes() for name in kept} == whole


def test_what_was_begun_with_other_documents_is_dropped(tokenizer, paths, monkeypatch):
    monkeypatch.setattr(tokenising, "BATCH_BYTES", 100)
    calls = []

    def kill_later(done):
        calls.append(done)
        if len(calls) == 3:
            raise Killed

    splits = {"train": ["some text"] * 9, "held_out": ["one"]}
    with pytest.raises(Killed):
        tokenise(tokenizer, splits, paths, save_seconds=0, update=kill_later)
    other = {"train": ["others"], "held_out": ["one"]}
    tokenise(tokenizer, other, paths)
    ids = open_tokens(paths["manifest"], paths["train"], "train").ids
    assert tokenizer.decode(ids.tolist()) == "others"


def test_ids_are_taken_as_they_are(tokenizer, paths):
    bos = tokenizer.token_to_id(BOS)
    documents = [
        Document("a", "", "train", [bos, 5, bos, 6]),
        Document("b", "", "train", [7, 8]),
        Document("c", "", "held_out", [bos, 9]),
    ]
    write_documents(paths["documents"], documents)
    write_tokens(tokenizer, None, paths, Path(paths["manifest"]).parent / ".resume")
    train = open_tokens(paths["manifest"], paths["train"], "train")
    assert train.ids.tolist() == [5, bos, 6, bos, 7, 8]
    assert open_tokens(paths["manifest"], paths["held_out"], "held_out").ids.tolist() == [9]


def test_ids_of_another_tokenizer_are_refused(tokenizer, paths):
    documents = [Document("a#7", "", "train", [5, 300]), Document("b", "", "held_out", [1])]
    write_documents(paths["documents"], documents)
    with pytest.raises(UserError, match=r"a#7 holds the token id 300, but the tokenizer has 300"):
        write_tokens(tokenizer, None, paths, Path(paths["manifest"]).parent / ".resume")
