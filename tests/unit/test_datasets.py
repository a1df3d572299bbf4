"""Large data sets: formats, columns, splits, the hub, and jobs that were killed."""

import bz2
import gzip
import json
import lzma
import tracemalloc
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loopback_hub import COMMIT, LoopbackHub, hub_at, serving
from test_config import edited, problems

from headstability.errors import UserError
from headstability.hub import download
from headstability.hub.download import data_files
from headstability.storage.resumable import ResumableFiles
from headstability.study.study import Study
from headstability.text import datasets
from headstability.text.corpus import documents_from_jsonl
from headstability.text.datasets import records, write_data_set

TEXTS = ["one text", "another, of\ntwo lines", "caf\u00e9 \u4e2d", "the last"]
IDS = [[3, 1, 4], [1, 5], [9, 2, 6, 5], [3]]
PACK = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


def lines_of(values, column):
    rows = [json.dumps({"id": i, column: value}) for i, value in enumerate(values)]
    return ("\n".join(rows) + "\n").encode()


def write_parquet(path, values, column, compression="snappy"):
    table = pa.table({"id": list(range(len(values))), column: values})
    pq.write_table(table, path, compression=compression, row_group_size=2)


def read(path, column="text", tokenised=False):
    return list(records(path, path.name, column, tokenised))


# --- formats ------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", PACK)
def test_text_between_blank_lines(tmp_path, ending):
    path = tmp_path / f"a.txt{ending}"
    text = "\ufeff\n" + "\n\n \n".join(TEXTS) + "\n\n"
    path.write_bytes(PACK[ending](text.replace("\n", "\r\n").encode()))
    assert read(path) == TEXTS


@pytest.mark.parametrize("ending", PACK)
def test_lines_of_json(tmp_path, ending):
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(PACK[ending](lines_of([*TEXTS, "", None], "content") + b"\n"))
    assert read(path, "content") == TEXTS
    path.write_bytes(PACK[ending](lines_of([*IDS, []], "tokens")))
    assert read(path, "tokens", tokenised=True) == IDS


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd"])
def test_parquet(tmp_path, compression, monkeypatch):
    monkeypatch.setattr(datasets, "BATCH", 3)
    path = tmp_path / "a.parquet"
    write_parquet(path, [*TEXTS, None, ""], "text", compression)
    assert read(path) == TEXTS
    write_parquet(path, [*IDS, []], "tokens", compression)
    assert read(path, "tokens", tokenised=True) == IDS


def test_memory_holds_a_record_at_a_time(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(lines_of(["x" * 10_000] * 2000, "text")))
    tracemalloc.start()
    assert sum(len(text) for text in records(path, path.name, "text", False)) == 2 * 10**7
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 10**6


WRONG = {
    "a.jsonl": (b'{"text": "a"}\n{"text"', r"a.jsonl: line 2 is not JSON"),
    "b.jsonl": (b'{"other": 1}\n', r"b.jsonl: line 1 has no column 'text', only other: correct"),
    "c.jsonl": (b"[1]\n", r"c.jsonl: line 1 has no column 'text', only no object"),
    "d.jsonl": (b'{"text": [1, 2]}\n', r"d.jsonl: record 1 of column 'text' is not text: correct"),
    "e.jsonl": (b'{"text": "\\ud800"}\n', r"e.jsonl: record 1 of column 'text' is not text"),
    "f.txt": (b"fine\n\xff\n", r"f.txt is not UTF-8 \(line 2"),
    "g.txt.gz": (gzip.compress(b"text " * 99)[:-9], r"g.txt.gz cannot be read to its end .*fetch"),
    "h.txt.xz": (lzma.compress(b"text " * 99)[:-9], r"h.txt.xz cannot be read to its end"),
    "i.txt.bz2": (b"no archive", r"i.txt.bz2 cannot be read to its end"),
    "j.txt.zst": (b"no archive", r"j.txt.zst cannot be read to its end"),
    "k.parquet": (b"PAR1 nothing", r"k.parquet cannot be read to its end"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_is_one_message(tmp_path, name):
    content, message = WRONG[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(tmp_path / name)


def test_a_missing_column_of_parquet_and_missing_files(tmp_path):
    write_parquet(tmp_path / "a.parquet", TEXTS, "content")
    with pytest.raises(UserError, match=r"a.parquet has no column 'text', only id, content"):
        read(tmp_path / "a.parquet")
    for name in ("none.parquet", "none.txt", "none.jsonl.gz"):
        with pytest.raises(UserError, match=rf"{name} does not exist"):
            read(tmp_path / name)


# --- documents ----------------------------------------------------------------------------


def spec_of(*paths, **values):
    shared = {"repo": None, "revision": None, "column": "text", "tokenised": False}
    return {"paths": list(paths), **shared, "held_out": 0.25, "seed": 0, **values}


def write(tmp_path, spec, name="documents.jsonl", update=lambda done: None):
    sources, commit = data_files(spec)
    files = ResumableFiles(tmp_path / f".{name}", ["documents"], commit)
    write_data_set(spec, sources, tmp_path / name, files, update)
    files.forget()
    return list(documents_from_jsonl(tmp_path / name))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for part in range(3):
        texts = [f"text {i} of part {part}" for i in range(40)]
        (tmp_path / f"{part}.jsonl.gz").write_bytes(gzip.compress(lines_of(texts, "text")))
    return tmp_path


PARTS = ("0.jsonl.gz", "1.jsonl.gz", "2.jsonl.gz")


def test_documents_in_order_each_drawn_for_itself(folder):
    found = write(folder, spec_of(*PARTS))
    expected = [f"text {i} of part {part}" for part in range(3) for i in range(40)]
    assert [item.text for item in found] == expected
    assert [item.name for item in found[39:41]] == ["0.jsonl.gz#40", "1.jsonl.gz#1"]
    held_out = {item.name for item in found if item.split == "held_out"}
    assert 15 <= len(held_out) <= 45, "a quarter of 120, give or take three standard deviations"
    fewer = write(folder, spec_of(PARTS[1]), "fewer.jsonl")
    assert {i.name for i in fewer if i.split == "held_out"} == {
        name for name in held_out if name.startswith("1.")
    }
    other = write(folder, spec_of(*PARTS, seed=1), "other.jsonl")
    assert {item.name for item in other if item.split == "held_out"} != held_out


def test_a_killed_job_keeps_whole_files(folder):
    whole = write(folder, spec_of(*PARTS), "whole.jsonl")
    seen = []

    def kill(done):
        seen.append(done)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(folder, spec_of(*PARTS), update=kill)
    assert not (folder / "documents.jsonl").exists()
    assert write(folder, spec_of(*PARTS), update=seen.append) == whole
    assert seen == [1, 2, 3]
    assert (folder / "documents.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()


def test_a_split_without_documents_is_refused(folder):
    (folder / "one.txt").write_text("one")
    with pytest.raises(UserError, match=r"none of the 1 document\(s\) .* is in the held_out split"):
        write(folder, spec_of("one.txt"))


# --- the hub ------------------------------------------------------------------------------


@pytest.fixture
def hub(folder, monkeypatch):
    hub = LoopbackHub()
    for name in PARTS:
        hub.files[f"datasets/some/text/data/{name}"] = (folder / name).read_bytes()
        (folder / name).unlink()
    with serving(hub):
        monkeypatch.setattr(download, "Hub", partial(hub_at, hub.address, folder / "cache"))
        yield hub


def test_a_data_set_of_the_hub(folder, hub):
    spec = spec_of("data/2*", "data/*.jsonl.gz", repo="some/text", revision="main")
    assert data_files(spec)[1] == COMMIT
    found = write(folder, spec)
    assert len(found) == 120
    assert [item.name for item in found[::40]] == [f"data/{part}.jsonl.gz#1" for part in (2, 0, 1)]
    requests = len(hub.downloads())
    assert write(folder, spec, "again.jsonl") == found
    assert not any("resolve" in path for path in hub.downloads()[requests:]), "all is in the cache"


def test_what_the_hub_does_not_have_is_one_message(hub):
    with pytest.raises(UserError, match=r"some/text at main has no file \*.parquet: correct"):
        data_files(spec_of("*.parquet", repo="some/text", revision="main"))
    with pytest.raises(UserError, match=r"no revision some/text at v7.*corpus.revision"):
        data_files(spec_of("data/*", repo="some/text", revision="v7"))
    with pytest.raises(UserError, match=r"no repository some/other.*corpus.repo"):
        data_files(spec_of("data/*", repo="some/other", revision="main"))


# --- config -------------------------------------------------------------------------------


def test_problems_of_a_data_set():
    good = {"type": "data", "paths": ["data/*.parquet"], "repo": "a/b", "revision": "main"}
    raw = edited("refits: 2")
    assert Study({**raw, "corpus": good}).corpus_files() == []
    local = {"type": "data", "paths": ["a.jsonl.zst"]}
    assert Study({**raw, "corpus": local}).corpus_files() == ["a.jsonl.zst"]
    for change, key in [
        ({"revision": None}, "corpus.revision"),
        ({"paths": ["a.csv"]}, "corpus.paths[1]"),
        ({"tokenised": True}, "tokenizer.type"),
    ]:
        assert list(problems({**raw, "corpus": good | change})) == [key]
