"""Verifying a study: every kind of damage is found, named exactly, and nothing is touched."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure
from plans import plan_of_config
from test_model import SHAPES, random_model
from test_study import config
from zarr.errors import ZarrUserWarning

from headstability.analysis.activations import activations
from headstability.errors import DamagedFile
from headstability.models.checkpoints import write_tensors, write_weights
from headstability.monitor.verify import Findings, _check, verify_study
from headstability.plots.style import save_figure
from headstability.storage.files import (
    sha256_file,
    sidecar,
    write_csv,
    write_json,
    write_text,
)
from headstability.storage.stores import open_cache, write_cache
from headstability.study.saved_config import record_config
from headstability.study.study import Study
from headstability.text.corpus import Document, documents_from_jsonl, write_documents
from headstability.text.encoding import write_tokens
from headstability.text.tokenizers import save_tokenizer, train_tokenizer

ROOT = "results/demo"
CELL = f"{ROOT}/cells/small/wd0/seed1"
CHECKPOINT = f"{CELL}/checkpoints/step20.safetensors"
CACHE = f"{CELL}/caches/step40/passages.zarr.zip"
PROVENANCE = f"{CELL}/provenance.json"
TABLE = f"{ROOT}/tables/heads.csv"
PNG, PDF = f"{ROOT}/figures/layer_stability.png", f"{ROOT}/figures/head_map/small/wd0.pdf"
CORPUS = f"{ROOT}/corpus"
KINDS = {
    "checkpoint": CHECKPOINT,
    "cache": CACHE,
    "json": PROVENANCE,
    "csv": TABLE,
    "png": PNG,
    "pdf": PDF,
    "tokens": f"{CORPUS}/train.bin",
    "documents": f"{CORPUS}/documents.jsonl",
    "tokenizer": f"{CORPUS}/tokenizer.json",
}


SMALL = config(
    architectures={"small": config()["architectures"]["small"]}, weight_decays=[0], refits=2
)
EXPECTED = plan_of_config(SMALL).expected


def write_all(root):
    """Every file of the study, by the writers the jobs use; the content is made up."""
    model = random_model(SHAPES[0], dtype=torch.float32)
    cache = activations(model, [[3, 1, 4], [3, 9]], torch.device("cpu"))
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([1, 2])
    texts = {"train": ["some words of the corpus"] * 3, "held_out": ["some more"]}
    documents = [Document(f"{s}{i}", t, s) for s, all_ in texts.items() for i, t in enumerate(all_)]
    write_documents(root / CORPUS / "documents.jsonl", documents)
    tokenizer = train_tokenizer(texts["train"], 257)
    save_tokenizer(tokenizer, root / CORPUS / "tokenizer.json")
    parts = ("train.bin", "held_out.bin", "tokenizer.json", "documents.jsonl")
    paths = {name.split(".")[0]: str(root / CORPUS / name) for name in parts}
    paths["manifest"] = str(root / CORPUS / "tokens.json")
    write_tokens(tokenizer, None, paths, root / CORPUS / ".resume")
    for name in EXPECTED:
        path = root / name
        if path.suffix == ".safetensors":
            write_weights(path, model, {"cell": "small/wd0/seed1", "step": 20})
        elif path.suffix == ".zip":
            write_cache(path, cache, {"cell": "small/wd0/seed1"})
        elif path.suffix == ".csv":
            write_csv(path, pd.DataFrame({"layer": range(9), "stability": 0.25}))
        elif path.suffix == ".md":
            write_text(path, "Nothing is claimed.\n")
        elif path.suffix == ".png":
            save_figure(figure, {"png": path, "pdf": path.with_suffix(".pdf")}, 50)
        elif path.suffix == ".json" and not path.exists():
            write_json(path, {"held_out_loss": 3.25, "cell": "small/wd0/seed1"})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    write_all(root)
    return root


@pytest.fixture
def tree(whole, tmp_path, monkeypatch):
    """A copy of a complete study, as the working directory."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listing(folder):
    """All there is to see of every file and folder."""
    return {
        str(path): (
            path.stat().st_mtime_ns,
            path.stat().st_mode,
            path.stat().st_ino,
            sha256_file(path) if path.is_file() else None,
        )
        for path in sorted(folder.rglob("*"))
    }


def verify(tree):
    """The findings; fails if finding them changed anything."""
    before = listing(tree)
    findings = verify_study(ROOT, EXPECTED)
    assert listing(tree) == before
    return findings


def flip(path, place, bit=1):
    data = bytearray(Path(path).read_bytes())
    data[place] ^= bit
    Path(path).write_bytes(data)


def test_a_complete_study_is_sound(tree):
    findings = verify(tree)
    assert findings == Findings(checked=len(EXPECTED))
    assert findings.sound
    assert findings.report() == f"{len(EXPECTED)} files are as they were written."


def test_progress_counts_every_file(tree):
    done = []
    Path(TABLE).unlink()
    verify_study(ROOT, EXPECTED, progress=done.append)
    assert done == list(range(1, len(EXPECTED) + 1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["flipped", "truncated", "emptied", "lengthened", "replaced"])
def test_damage_is_found_and_named(tree, kind, how):
    path = Path(KINDS[kind])
    data = path.read_bytes()
    if how == "flipped":
        # In the middle of the values, not in what a zip says of itself.
        place = data.index(b"pattern/c/1") + 60 if kind == "cache" else len(data) * 2 // 3
        flip(path, place)
    else:
        cut = data[: len(data) // 2]
        path.write_bytes({"truncated": cut, "emptied": b"", "replaced": b"other"}.get(how, data))
    if how == "lengthened":
        path.write_bytes(data + b"\n1,2\n" * 20_000)
    findings = verify(tree)
    ((name, reason, size),) = findings.damaged
    assert (name, size) == (str(path), path.stat().st_size)
    assert reason
    assert findings == Findings(checked=len(EXPECTED) - 1, damaged=[(name, reason, size)])
    assert not findings.sound
    report = findings.report()
    kilo, mega = f"{size / 1e3:.1f} kB", f"{size / 1e6:.1f} MB"
    assert f"{len(EXPECTED) - 1} files are as they were written." in report
    assert "\n1 damaged (delete them, snakemake makes them again)" in report
    assert f"  {path} ({mega if size >= 1e5 else kilo}): {reason}" in report


@pytest.mark.parametrize("kind", ["checkpoint", "csv", "png", "pdf"])
def test_any_flipped_bit_is_found(tree, kind):
    path = Path(KINDS[kind])
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in [0, len(data) - 1, *rng.integers(len(data), size=150)]:
        flip(path, place, 1 << rng.integers(8))
        with pytest.raises(DamagedFile):
            _check(path, {})
        path.write_bytes(data)


def test_any_flipped_bit_of_a_cache_is_found_or_means_nothing(tree):
    """A zip holds dates and second copies of sizes, which nothing reads."""
    path = Path(CACHE)
    data, opened = path.read_bytes(), open_cache(path).load()
    rng = np.random.default_rng(0)
    found = 0
    for place in rng.choice(len(data), 150, replace=False):
        flip(path, place, 1 << rng.integers(8))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ZarrUserWarning)
                _check(path, {})
        except DamagedFile:
            found += 1
        else:
            xr.testing.assert_identical(open_cache(path).load(), opened)
        path.write_bytes(data)
    assert found > 120


def test_a_changed_header_of_a_checkpoint_is_found(tree):
    """Another number of heads fits the same tensors."""
    data = Path(CHECKPOINT).read_bytes()
    edited = data.replace(rb"\"heads\": 4", rb"\"heads\": 2")
    assert edited != data
    Path(CHECKPOINT).write_bytes(edited)
    ((name, reason, _),) = verify(tree).damaged
    assert name == CHECKPOINT
    assert reason.startswith("its header has sha256 ")


@pytest.mark.parametrize("kind", ["csv", "png", "pdf"])
def test_a_lost_hash_is_damage(tree, kind):
    path = KINDS[kind]
    sidecar(path).unlink()
    size = Path(path).stat().st_size
    name = sidecar(path).name
    assert verify(tree).damaged == [(path, f"its hash, {name}, is missing", size)]


def test_a_damaged_manifest_is_named_once(tree):
    manifest = Path(CORPUS, "tokens.json")
    flip(manifest, 60)
    findings = verify(tree)
    assert [name for name, *_ in findings.damaged] == [str(manifest)]
    # What only it could vouch for is neither whole nor damaged.
    assert findings.checked == len(EXPECTED) - 5


def test_a_missing_manifest_is_missing_and_nothing_else(tree):
    Path(CORPUS, "tokens.json").unlink()
    findings = verify(tree)
    assert findings == Findings(checked=len(EXPECTED) - 5, missing=[f"{CORPUS}/tokens.json"])


def test_whole_lines_lost_from_the_documents_are_found(tree):
    path = Path(CORPUS, "documents.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert len(list(documents_from_jsonl(path))) == 3
    assert [name for name, *_ in verify(tree).damaged] == [str(path)]


@pytest.mark.parametrize("kind", KINDS)
def test_missing_files_are_listed(tree, kind):
    Path(KINDS[kind]).unlink()
    findings = verify(tree)
    assert findings == Findings(checked=len(EXPECTED) - 1, missing=[KINDS[kind]])
    assert not findings.sound
    assert f"\n1 missing (snakemake makes them):\n  {KINDS[kind]}" in findings.report()


def test_a_study_that_never_ran(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    findings = verify(tmp_path)
    assert findings == Findings(missing=EXPECTED)
    assert not findings.sound


def test_orphans_are_listed_and_do_no_harm(tree):
    removed = Path(f"{ROOT}/cells/small/wd0/seed9")
    write_tensors(removed / "checkpoints/step40.safetensors", {"a": torch.ones(50_000)}, {})
    write_csv(removed / "training.csv", pd.DataFrame({"a": [1]}))
    Path(ROOT, "notes.txt").write_text("mine")
    findings = verify(tree)
    paths = [
        removed / "checkpoints/step40.safetensors",
        removed / "training.csv",
        removed / ".training.csv.sha256",
        Path(ROOT, "notes.txt"),
    ]
    assert findings.orphaned == [(str(path), path.stat().st_size) for path in sorted(paths)]
    assert (findings.checked, findings.damaged, findings.missing) == (len(EXPECTED), [], [])
    assert findings.left_behind == []
    assert findings.sound
    mb = f"{sum(path.stat().st_size for path in paths) / 1e6:.1f} MB:\n"
    report = findings.report()
    assert (
        f"4 orphaned (nothing in this config makes them; delete them if you like), {mb}" in report
    )
    assert f"  {paths[0]} (0.2 MB)\n" in report
    assert f"  {ROOT}/notes.txt (0.0 kB)" in report


def test_what_killed_jobs_left_is_listed_apart(tree):
    left = [
        f"{CELL}/.resume/state.safetensors",
        f"{CELL}/.resume/lock",
        f"{CELL}/.training.csv.host-12.part",
        f"{CACHE}.damaged",
    ]
    for number, name in enumerate(left):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"x" * 1000 * number)
    findings = verify(tree)
    sizes = {name: 1000 * number for number, name in enumerate(left)}
    assert findings == Findings(
        checked=len(EXPECTED), left_behind=[(name, sizes[name]) for name in sorted(left)]
    )
    assert findings.sound
    assert "4 left behind by killed jobs" in findings.report()
    assert ", 6.0 kB:\n" in findings.report()
    assert f"  {CACHE}.damaged (3.0 kB)" in findings.report()


def test_logs_and_benchmarks_are_no_outputs(tree):
    for name in ("logs/train/a.log", "benchmarks/train.tsv"):
        Path(ROOT, name).parent.mkdir(parents=True)
        Path(ROOT, name).write_text("times")
    assert verify(tree) == Findings(checked=len(EXPECTED))


def test_everything_at_once_is_told_apart(tree):
    flip(PDF, 100)
    Path(CHECKPOINT).write_bytes(Path(CHECKPOINT).read_bytes()[:-1])
    Path(TABLE).unlink()
    Path(ROOT, "mine").write_text("x" * 10)
    Path(f"{PNG}.damaged").write_text("x")
    findings = verify(tree)
    assert findings.checked == len(EXPECTED) - 3
    assert findings.missing == [TABLE]
    assert {name for name, *_ in findings.damaged} == {PDF, CHECKPOINT}
    assert findings.orphaned == [(f"{ROOT}/mine", 10)]
    assert findings.left_behind == [(f"{PNG}.damaged", 1)]
    titles = ("1 missing", "2 damaged", "1 orphaned", "1 left behind")
    places = [findings.report().index(title) for title in titles]
    assert places == sorted(places)


def test_what_was_asked_for_is_checked_but_not_missed(tree):
    extra = f"{ROOT}/conditions/on/request.csv"
    assert verify_study(ROOT, EXPECTED, [extra]).missing == []
    write_csv(extra, pd.DataFrame({"a": [1]}))
    assert verify_study(ROOT, EXPECTED).orphaned != []
    findings = verify_study(ROOT, EXPECTED, [extra])
    assert (findings.checked, findings.orphaned) == (len(EXPECTED) + 1, [])
    Path(extra).write_text("a\n2\n")
    assert [path for path, *_ in verify_study(ROOT, EXPECTED, [extra]).damaged] == [extra]


def test_the_record_of_the_config_belongs_to_the_study_but_is_no_output(tree):
    record = Path(Study(SMALL).paths.config)
    before = verify_study(ROOT, EXPECTED, record=str(record))
    record_config(record, config())
    assert [path for path, _ in verify_study(ROOT, EXPECTED).orphaned] == [
        str(sidecar(record)),
        str(record),
    ]
    assert verify_study(ROOT, EXPECTED, record=str(record)) == before
    record.write_text(record.read_text() + "\n")
    damaged = verify_study(ROOT, EXPECTED, record=str(record)).damaged
    assert [path for path, *_ in damaged] == [str(record)]
