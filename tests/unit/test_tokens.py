"""Tokenizers, token files, training rows and prompts."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstability.errors import DamagedFile, UserError
from headstability.storage.files import read_json, sha256_file
from headstability.text import encoding as tokenising
from headstability.text.corpus import Document, write_documents
from headstability.text.encoding import write_tokens
from headstability.text.prompts import make_prompts, passages, prompts_from_file
from headstability.text.token_files import TokenFile, open_tokens
from headstability.text.tokenizers import (
    BOS,
    encode,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
)

TEXTS = [
    "The state of the union is strong, and the union of the states is stronger.",
    "Fellow citizens of the Senate and of the House of Representatives,",
    "it is the duty of the President to give to the Congress information.",
] * 3


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 300)


def tokens_of(values, bos=0, vocabulary=300):
    return TokenFile(np.asarray(values, dtype=np.uint16), bos, vocabulary, "")


# --- tokenizers ---------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_survives(tokenizer, text):
    (ids,) = encode(tokenizer, [text])
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert all(0 <= item < 300 for item in ids)


def test_a_tokenizer_is_the_same_bytes_every_time(tmp_path):
    """In other processes too: hashing of text is seeded differently in each."""
    program = (
        "import sys; from headstability.text.tokenizers import *; import test_tokens as t; "
        "save_tokenizer(train_tokenizer(t.TEXTS, 300), sys.argv[1])"
    )
    here = Path(__file__).resolve()
    search = os.pathsep.join([str(here.parents[2] / "scripts"), str(here.parent)])
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONPATH": search, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program, str(tmp_path / seed)]
        subprocess.run(command, env=environment, check=True)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@pytest.mark.parametrize("vocabulary", [257, 280, 300])
def test_vocabulary_has_the_size_asked_for(vocabulary):
    tokenizer = train_tokenizer(TEXTS, vocabulary)
    assert tokenizer.get_vocab_size() == vocabulary
    assert tokenizer.token_to_id(BOS) is not None


def test_a_tiny_corpus_gives_a_smaller_vocabulary():
    assert train_tokenizer(["ab"], 1000).get_vocab_size() == 258


def test_a_saved_tokenizer_comes_back(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    save_tokenizer(tokenizer, path)
    loaded = load_tokenizer(path, None)
    assert encode(loaded, TEXTS) == encode(tokenizer, TEXTS)
    with pytest.raises(UserError, match=r"tokenizer.json has no token '<s>': set tokenizer.bos"):
        load_tokenizer(path, "<s>")


@pytest.mark.parametrize("content", [None, b"", b"not json", b"{}", b"\xff\xfe", "half"])
def test_what_is_no_tokenizer_is_refused(tokenizer, tmp_path, content):
    path = tmp_path / "saved.json"
    if content == "half":
        content = tokenizer.to_str().encode()
        content = content[: len(content) // 2]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"saved.json is not a tokenizer.json: "):
        load_tokenizer(path, None)


# --- token files --------------------------------------------------------------------------


@pytest.fixture
def paths(tokenizer, tmp_path):
    """Paths of token files; what they are made of is there."""
    names = ("train.bin", "held_out.bin", "tokenizer.json", "documents.jsonl")
    found = {name.split(".")[0]: str(tmp_path / name) for name in names}
    save_tokenizer(tokenizer, found["tokenizer"])
    return {**found, "manifest": str(tmp_path / "tokens.json")}


def tokenise(tokenizer, splits, paths, **options):
    """Write documents of two splits, one by one in turn, and tokenise them."""
    turns = itertools.zip_longest(*([(s, text) for text in splits[s]] for s in splits))
    documents = [
        Document(f"{split}{number}", text, split)
        for number, turn in enumerate(turns)
        for split, text in filter(None, turn)
    ]
    write_documents(paths["documents"], documents)
    folder = Path(paths["manifest"]).parent / ".resume"
    write_tokens(tokenizer, None, paths, folder, **options)


@pytest.fixture
def written(tokenizer, paths):
    """Paths of the token files of a small corpus of two splits."""
    tokenise(tokenizer, {"train": TEXTS[:2], "held_out": TEXTS[2:5]}, paths)
    return paths


def test_documents_are_separated_and_nothing_else_is(tokenizer, written):
    bos = tokenizer.token_to_id(BOS)
    first, second = encode(tokenizer, TEXTS[:2])
    train = open_tokens(written["manifest"], written["train"], "train")
    assert train.ids.tolist() == [*first, bos, *second]
    assert (train.bos, train.vocabulary) == (bos, 300)
    held_out = open_tokens(written["manifest"], written["held_out"], "held_out")
    assert np.count_nonzero(held_out.ids == bos) == 2
    assert bos not in (held_out.ids[0], held_out.ids[-1])


def test_the_manifest_records_what_the_tokens_are_made_of(written):
    manifest = read_json(written["manifest"])
    for name in ("tokenizer", "documents"):
        assert manifest[f"{name}_sha256"] == sha256_file(written[name])
    for split in ("train", "held_out"):
        assert manifest["splits"][split]["sha256"] == sha256_file(written[split])


def test_separators_across_batches(tokenizer, paths, monkeypatch):
    """More documents than are tokenised at once."""
    monkeypatch.setattr(tokenising, "BATCH_BYTES", 300)
    texts = [f"document {i}" for i in range(150)]
    tokenise(tokenizer, {"train": texts, "held_out": texts[:1]}, paths)
    ids = open_tokens(paths["manifest"], paths["train"], "train").ids.tolist()
    assert tokenizer.decode(ids, skip_special_tokens=False).split(BOS) == texts
    manifest = json.loads(Path(paths["manifest"]).read_text())
    assert manifest["splits"]["train"]["documents"] == 150
    assert manifest["splits"]["train"]["tokens"] == len(ids)


class LargeTokenizer:
    """Stands in for a tokenizer: one token a character, of a large vocabulary."""

    def __init__(self, size):
        self.size = size

    def get_vocab_size(self):
        return self.size

    def token_to_id(self, token):
        return self.size - 1

    def encode_batch(self, texts, add_special_tokens):
        assert add_special_tokens is False
        item = type("Encoding", (), {})
        made = [item() for _ in texts]
        for one, text in zip(made, texts, strict=True):
            one.ids = [self.size - 2 for _ in text]
        return made


@pytest.mark.parametrize(("size", "width"), [(257, 2), (65536, 2), (65537, 4), (100_000, 4)])
def test_ids_take_two_bytes_while_they_fit(paths, size, width):
    splits = {"train": ["abc", "d"], "held_out": ["ab"]}
    tokenise(LargeTokenizer(size), splits, paths)
    assert Path(paths["train"]).stat().st_size == 5 * width
    ids = open_tokens(paths["manifest"], paths["train"], "train").ids
    assert ids.tolist() == [size - 2] * 3 + [size - 1, size - 2]


def test_a_split_without_tokens_is_refused(tokenizer, paths, tmp_path):
    with pytest.raises(UserError, match=r"held_out split .* holds no tokens: give more text"):
        tokenise(tokenizer, {"train": ["a"], "held_out": [""]}, paths)
    left = sorted(item.name for item in tmp_path.iterdir() if not item.name.startswith("."))
    assert left == ["documents.jsonl", "tokenizer.json"]


@pytest.mark.parametrize("damage", ["truncated", "lengthened", "flipped", "emptied"])
def test_damaged_token_files_are_refused_and_left_as_they_are(written, damage):
    path = Path(written["held_out"])
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[17] ^= 4
    damaged = {
        "truncated": whole[:-1],
        "lengthened": whole + b"\0\0",
        "flipped": bytes(flipped),
        "emptied": b"",
    }[damage]
    path.write_bytes(damaged)
    before = sorted(path.parent.iterdir())
    with pytest.raises(DamagedFile) as caught:
        open_tokens(written["manifest"], path, "held_out")
    assert caught.value.path == path
    if damage == "flipped":
        recorded = read_json(written["manifest"])["splits"]["held_out"]["sha256"]
        assert caught.value.reason == f"its sha256 is not {recorded}"
    else:
        assert caught.value.reason == f"{len(damaged)} bytes, expected {len(whole)}"
    assert path.read_bytes() == damaged
    assert sorted(path.parent.iterdir()) == before


def test_a_damaged_manifest_is_named_itself(written):
    path = Path(written["manifest"])
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DamagedFile, match=r"tokens.json is damaged: not the JSON") as caught:
        open_tokens(path, written["train"], "train")
    assert caught.value.path == path
    assert len(path.read_bytes()) == 40


# --- rows ---------------------------------------------------------------------------------


def naive_rows(ids, bos, context):
    """Rows one after the other, as one would cut them by hand."""
    rows, rest = [], list(ids)
    while len(rest) >= context - 1:
        rows.append([bos, *rest[: context - 1]])
        rest = rest[context - 1 :]
    return rows


@given(st.lists(st.integers(0, 99), max_size=80), st.integers(2, 12))
def test_rows_cover_the_file_once(ids, context):
    tokens = tokens_of(ids, bos=77)
    expected = naive_rows(ids, 77, context)
    assert tokens.row_count(context) == len(expected)
    rows = tokens.rows(np.arange(len(expected)), context)
    assert rows.dtype == np.int64
    assert rows.shape == (len(expected), context)
    assert rows.tolist() == expected


@given(st.integers(1, 300), st.integers(2, 9), st.integers(1, 40))
def test_spread_rows_are_rows_from_all_over_the_file(length, context, count):
    tokens = tokens_of(np.arange(length) + 1)
    expected = naive_rows(range(1, length + 1), 0, context)
    rows = tokens.spread_rows(count, context).tolist()
    assert len(rows) == min(count, len(expected))
    places = [expected.index(row) for row in rows]
    assert places == sorted(set(places))
    if len(rows) > 1:
        assert (places[0], places[-1]) == (0, len(expected) - 1)
        assert max(np.diff(places)) - min(np.diff(places)) <= 1


def test_rows_in_any_order():
    tokens = tokens_of(np.arange(20))
    assert tokens.rows(np.array([3, 0, 3]), 5)[:, 1].tolist() == [12, 0, 12]


# --- prompts ------------------------------------------------------------------------------

DOCUMENTS = st.lists(st.integers(0, 30), min_size=1, max_size=8)


@given(DOCUMENTS, st.integers(1, 7), st.integers(0, 99))
def test_passages_stay_in_documents_and_apart(lengths, length, seed):
    """Every token is of its own, so that a passage tells where it was cut."""
    documents, following = [], 1
    for size in lengths:
        documents.append(list(range(following, following + size)))
        following += size
    ids = documents[0] + [item for document in documents[1:] for item in [0, *document]]
    tokens = tokens_of(ids)
    available = sum(size // length for size in lengths)
    drawn, sources = passages(tokens, available, length, seed)
    assert all(len(item) == length for item in drawn)
    used = [item for passage in drawn for item in passage]
    assert len(set(used)) == len(used) == available * length
    for passage, source in zip(drawn, sources, strict=True):
        assert set(passage) <= set(documents[source - 1])
        assert passage == list(range(passage[0], passage[0] + length))
    assert (drawn, sources) == passages(tokens, available, length, seed)
    assert passages(tokens, available // 2, length, seed)[0] == drawn[: available // 2]
    with pytest.raises(UserError, match=f"hold {available} passages of {length} tokens"):
        passages(tokens, available + 1, length, seed)


def test_passages_depend_on_the_seed():
    tokens = tokens_of(np.arange(1, 400))
    draws = [passages(tokens, 10, 5, seed) for seed in range(5)]
    assert len({str(draw) for draw in draws}) == 5


def test_too_many_passages_say_which_keys_to_change():
    with pytest.raises(UserError) as caught:
        passages(tokens_of([1, 2, 3]), 9, 2, 0)
    for word in ("hold 1 passages of 2 tokens", "9 are requested", "count", "corpus.held_out"):
        assert word in str(caught.value)


@pytest.mark.parametrize("ending", ["txt", "json"])
def test_prompts_of_a_file(tokenizer, tmp_path, ending):
    texts = ["The union", "  two spaces and Grüße 🙂", "a\x0cb\u2028c"]
    path = tmp_path / f"prompts.{ending}"
    lines = "\ufeff\r\n" + "\r\n\n".join(texts) + "\n \n"
    content = lines if ending == "txt" else json.dumps(texts)
    path.write_bytes(content.encode())
    found = prompts_from_file(path, tokenizer, 64)
    assert [tokenizer.decode(ids) for ids in found] == texts


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", None, "cannot be read"),
        ("a.txt", b"", "holds no prompts"),
        ("a.txt", b" \n\n", "holds no prompts"),
        ("a.txt", b"caf\xe9", "cannot be read"),
        ("a.txt", b"short\n\n" + b"long words here" * 9, "prompt 2 has "),
        ("a.json", b"[]", "holds no prompts"),
        ("a.json", b'["a"', "cannot be read"),
        ("a.json", b'{"a": "b"}', "must hold a list of strings"),
        ("a.json", b'"text"', "must hold a list of strings"),
        ("a.json", b'["a", 3]', "must hold a list of strings"),
        ("a.json", b'["a", null]', "must hold a list of strings"),
        ("a.json", b'["a", ""]', "prompt 2 is empty"),
        ("a.json", b'["a", "\\ud800"]', "prompt 2 holds half a surrogate pair"),
    ],
)
def test_bad_prompt_files(tokenizer, tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        prompts_from_file(path, tokenizer, 16)
    assert f"prompts file {path}" in str(caught.value)
    assert words in str(caught.value)


def test_the_longest_prompt_leaves_room_for_the_beginning_token(tokenizer, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("qzx")
    length = len(encode(tokenizer, ["qzx"])[0])
    assert len(prompts_from_file(path, tokenizer, length + 1)) == 1
    with pytest.raises(UserError, match=f"training.context = {length} fit"):
        prompts_from_file(path, tokenizer, length)


def test_prompt_sets_begin_with_bos(tokenizer, written, tmp_path):
    tokens = open_tokens(written["manifest"], written["held_out"], "held_out")
    spec = {"type": "held_out", "name": "passages", "count": 4, "tokens": 6, "seed": 0}
    made = make_prompts(spec, tokens, tokenizer)
    assert (made["name"], made["bos"]) == ("passages", tokens.bos)
    assert len(made["tokens"]) == len(made["texts"]) == 4
    for ids, text in zip(made["tokens"], made["texts"], strict=True):
        assert (len(ids), ids[0]) == (7, tokens.bos)
        assert tokens.bos not in ids[1:]
        assert tokenizer.decode(ids[1:]) == text
        assert any(text in document for document in TEXTS)
    path = tmp_path / "mine.txt"
    path.write_text("One prompt\nand another")
    spec = {"type": "file", "name": "mine", "path": str(path), "context": 64}
    made = make_prompts(spec, tokens, tokenizer)
    assert made["texts"] == ["One prompt", "and another"]
    assert [ids[0] for ids in made["tokens"]] == [tokens.bos] * 2
    assert json.loads(json.dumps(made)) == made
