"""A corpus of data sets, from files in several formats to token files."""

import gzip
import itertools
import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from driver import contents, copy_repository, jobs, snakemake
from tokenizers import Tokenizer

TOKENS = "results/data/corpus/tokens.json"
CONFIG = """study: data
architectures: {one: {layers: 1, heads: 2, d_model: 16}}
training: {steps: 5, context: 32}
tokenizer: {type: bpe, vocabulary: 300}
prompts: {passages: {type: held_out, count: 4, tokens: 12}}
"""


def texts_of(part, count=200):
    draw = random.Random(part)
    return [" ".join(draw.choices(["some", "words", "of", "it"], k=20)) for _ in range(count)]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The repository in which text, and then its ids, were tokenised."""
    folder = copy_repository(tmp_path_factory.mktemp("data") / "repository")
    (folder / "data").mkdir(exist_ok=True)
    lines = "".join(json.dumps({"content": text}) + "\n" for text in texts_of(1))
    (folder / "data/a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pq.write_table(pa.table({"content": texts_of(2)}), folder / "data/b.parquet")
    corpus = {"type": "data", "paths": ["data/b.parquet", "data/a.jsonl.gz"], "column": "content"}
    config = yaml.safe_load(CONFIG) | {"corpus": corpus}
    (folder / "data.yaml").write_text(yaml.safe_dump(config))
    output = snakemake(folder, TOKENS, "--cores", "2", "--configfile", "data.yaml")
    return folder, output


def expected(folder, texts):
    """Ids of each split in order, by the tokenizer alone, from the splits that were drawn."""
    tokenizer = Tokenizer.from_file(str(folder / "results/data/corpus/tokenizer.json"))
    lines = (folder / "results/data/corpus/documents.jsonl").read_text().splitlines()
    splits = [json.loads(line)["split"] for line in lines]
    found = {"train": [], "held_out": []}
    for split, text in zip(splits, texts, strict=True):
        found[split] += [[0]] * bool(found[split])
        found[split].append(tokenizer.encode(text, add_special_tokens=False).ids)
    return {split: list(itertools.chain(*parts)) for split, parts in found.items()}


def test_every_document_is_tokenised_in_order(study):
    folder, output = study
    ids = expected(folder, texts_of(2) + texts_of(1))
    for split, wanted in ids.items():
        found = np.fromfile(folder / f"results/data/corpus/{split}.bin", dtype="<u2")
        assert found.tolist() == wanted
    assert "tokenising (bytes): 100 %" in output
    assert not [path for path in contents(folder / "results/data") if ".resume" in path]


def test_a_second_run_does_nothing_and_one_thread_gives_the_same(study):
    folder, _ = study
    chosen = ("--configfile", "data.yaml")
    assert jobs(folder, TOKENS, *chosen) == []
    before = contents(folder / "results/data")
    snakemake(folder, TOKENS, "--cores", "1", "--forceall", *chosen)
    assert contents(folder / "results/data") == before


def test_ids_of_the_same_texts_make_the_same_token_files(study):
    folder, _ = study
    tokenizer = Tokenizer.from_file(str(folder / "results/data/corpus/tokenizer.json"))
    (folder / "data/saved.json").write_text(tokenizer.to_str())
    for name, part in (("b", 2), ("a", 1)):
        ids = [[0, *tokenizer.encode(text).ids] for text in texts_of(part)]
        pq.write_table(pa.table({"tokens": ids}), folder / f"data/{name}.ids.parquet")
    corpus = {"type": "data", "paths": ["data/b.ids.parquet", "data/a.ids.parquet"]}
    corpus |= {"column": "tokens", "tokenised": True}
    saved = {"type": "file", "path": "data/saved.json"}
    config = yaml.safe_load(CONFIG) | {"study": "ids", "corpus": corpus, "tokenizer": saved}
    (folder / "ids.yaml").write_text(yaml.safe_dump(config))
    target = TOKENS.replace("/data/", "/ids/")
    snakemake(folder, target, "--cores", "2", "--configfile", "ids.yaml")
    where = folder / "results/ids/corpus"
    lines = (where / "documents.jsonl").read_text().splitlines()
    for split in ("train", "held_out"):
        texts = [
            tokenizer.decode(json.loads(line)["ids"][1:])
            for line in lines
            if json.loads(line)["split"] == split
        ]
        found = np.fromfile(where / f"{split}.bin", dtype="<u2").tolist()
        assert "\n".join(texts) == tokenizer.decode(found, skip_special_tokens=False).replace(
            "<|endoftext|>", "\n"
        )
    assert jobs(folder, target, "--configfile", "ids.yaml") == []
