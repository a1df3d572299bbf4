"""Looking at a finished study: every file it should hold, `verify`, and `why`."""

import contextlib
import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from driver import SMOKE, contents, dry_run, environment, jobs, snakemake

from headstability.storage.files import sidecar

ROOT = Path("results/smoke")
CELL = ROOT / "cells/two/wd0.1/seed2"
CACHE = CELL / "caches/step30/passages.zarr.zip"
CHECKPOINT = CELL / "checkpoints/step30.safetensors"
TABLE = ROOT / "tables/heads.csv"
# Files with their hash beside them.
HASHED = (".csv", ".png", ".pdf", ".md", "documents.jsonl", "tokenizer.json")
FIGURE = ROOT / "figures/layer_stability.png"


@pytest.fixture(scope="module")
def expected(smoke):
    """The rule of every file that a finished study holds."""
    _, plan = dry_run(smoke, *SMOKE)
    return {path: job.rule for job in plan.jobs if not job.temporary for path in job.outputs}


@contextlib.contextmanager
def kept(*paths):
    """Put files back as they were, times included, whatever happens to them."""
    before = {}
    for path in paths:
        status = path.stat()
        before[path] = (path.read_bytes(), status.st_atime_ns, status.st_mtime_ns)
    try:
        yield
    finally:
        for path, (data, accessed, modified) in before.items():
            path.write_bytes(data)
            os.utime(path, ns=(accessed, modified))


@contextlib.contextmanager
def replaced(path, old, new):
    """Edit a text file for a while."""
    with kept(path):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        yield


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def listing(folder):
    """Every file with its time and size, but for the log of verifying and Snakemake's own."""
    found = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not {".snakemake", "__pycache__"} & set(parts):
            found[str(path.relative_to(folder))] = path.stat().st_mtime_ns, path.stat().st_size
    found.pop(str(ROOT / "logs/verify.log"), None)
    return found


# --- the files of a study -----------------------------------------------------------------


def test_the_plan_has_every_file(smoke, expected):
    """What Snakemake plans for the whole study, against the list that `verify` goes by."""
    shown = subprocess.run(
        [sys.executable, "-m", "snakemake", "--summary", *SMOKE],
        cwd=smoke,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rows = list(csv.DictReader(shown.splitlines(), delimiter="\t"))
    assert {row["output_file"]: row["rule"] for row in rows} == expected
    assert len(rows) == len(expected)
    assert {(row["status"], row["plan"]) for row in rows} == {("ok", "no update")}


def test_the_folder_holds_the_expected_files_and_nothing_else(smoke, expected):
    tables = [name for name in expected if name.endswith(HASHED)]
    hashes = {str(sidecar(name)) for name in tables}
    assert {str(ROOT / name) for name in contents(smoke / ROOT)} == set(expected) | hashes


# --- verify -------------------------------------------------------------------------------


def verify(smoke, ok=True):
    """The report; fails if verifying changed anything but its log."""
    before = listing(smoke)
    output = snakemake(smoke, "verify", "--cores", "1", *SMOKE, ok=ok)
    assert listing(smoke) == before
    log = (smoke / ROOT / "logs/verify.log").read_text()
    report, _, traceback = log.partition("Traceback")
    assert ok == (not traceback)
    assert report[report.index("files are as they were written") :].strip() in output
    assert ("is not complete and unaltered: see the list above" in output) != ok
    assert "Traceback" not in output
    return report


def sections(report):
    """Titles of the report's lists with their number and lines."""
    found = {}
    for block in report.split("\n\n"):
        lines = block.strip().splitlines()
        if lines and (title := re.fullmatch(r"(\d+) (missing|damaged|orphaned|left).*:", lines[0])):
            entries = [line for line in lines[1:] if line.startswith("  ")]
            assert len(entries) == int(title[1])
            found[title[2]] = [entry.strip() for entry in entries]
    return found


def size(path):
    amount = path.stat().st_size
    return f"{amount / 1e6:.1f} MB" if amount >= 1e5 else f"{amount / 1e3:.1f} kB"


def test_a_finished_study_is_sound(smoke, expected):
    report = verify(smoke)
    assert f"{len(expected)} files are as they were written." in report
    assert sections(report) == {}
    assert jobs(smoke, *SMOKE) == []


def test_damage_is_listed_exactly(smoke, expected):
    cache, checkpoint, table = smoke / CACHE, smoke / CHECKPOINT, smoke / TABLE
    with kept(cache, checkpoint, table):
        flip(cache)
        checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
        table.unlink()
        report = verify(smoke, ok=False)
        found = sections(report)
        assert set(found) == {"missing", "damaged"}
        assert found["missing"] == [str(TABLE)]
        damaged = dict(entry.split(": ", 1) for entry in found["damaged"])
        assert set(damaged) == {f"{CACHE} ({size(cache)})", f"{CHECKPOINT} (5.0 kB)"}
        assert damaged[f"{CHECKPOINT} (5.0 kB)"].startswith("not a complete checkpoint")
        assert f"{len(expected) - 3} files are as they were written." in report
    verify(smoke)


def test_files_of_a_removed_seed_are_orphans(smoke, expected):
    removed = smoke / CELL.with_name("seed9")
    shutil.copytree(smoke / CELL, removed)
    try:
        report = verify(smoke)
        found = sections(report)
        assert set(found) == {"orphaned"}
        files = [path for path in removed.rglob("*") if path.is_file()]
        listed = {f"{path.relative_to(smoke)} ({size(path)})" for path in files}
        assert set(found["orphaned"]) == listed
        assert f"{len(expected)} files are as they were written." in report
    finally:
        shutil.rmtree(removed)


def test_what_killed_jobs_left_is_no_damage(smoke):
    left = smoke / CELL / ".resume" / "state.safetensors"
    left.parent.mkdir()
    left.write_bytes(b"x" * 1500)
    try:
        report = verify(smoke)
        assert sections(report) == {"left": [f"{left.relative_to(smoke)} (1.5 kB)"]}
    finally:
        shutil.rmtree(left.parent)


def test_verify_beside_other_targets_changes_as_much_as_they_do(smoke):
    """A run that makes results records its config and forgets the states of finished cells."""
    config, cell = (
        smoke / ROOT / "config.yaml",
        next((smoke / ROOT / "cells").rglob("*.csv")).parent,
    )
    state = cell / ".resume" / "state"
    with kept(config):
        state.parent.mkdir()
        state.touch()
        config.unlink()
        snakemake(smoke, "verify", "--cores", "1", *SMOKE)
        assert state.exists()
        assert not config.exists()
        snakemake(smoke, "all", "verify", "--cores", "1", *SMOKE)
        assert not state.parent.exists()
        assert config.exists()


# --- why ----------------------------------------------------------------------------------


def why(smoke, *targets, ok=True):
    """What `why` says; fails if saying it changed anything."""
    before = listing(smoke)
    done = subprocess.run(
        [sys.executable, "scripts/why.py", *targets, *SMOKE],
        cwd=smoke,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == ok, done.stderr
    assert listing(smoke) == before
    assert "Traceback" not in done.stderr
    return done.stdout if ok else done.stderr


def reasons(said):
    """Files by the reason given for them."""
    found = {}
    for block in said.strip().split("\n\n"):
        title, *files = block.splitlines()
        if files:
            found[title.removesuffix(":")] = [line.strip() for line in files]
    return found


STUDY = Path("studies/smoke.yaml")


def test_nothing_would_be_made_again(smoke):
    said = "Nothing would be rebuilt: all targets are up to date.\n"
    assert why(smoke) == said
    assert why(smoke, "layer_stability") == said


def test_a_changed_key_is_named_with_both_values(smoke):
    with replaced(smoke / STUDY, "learning_rate: 1.0e-2", "learning_rate: 2.0e-2"):
        said = why(smoke)
    title = "training.learning_rate was 0.01, is 0.02"
    assert list(reasons(said)) == [title]
    (*first, last) = reasons(said)[title]
    assert all(path.startswith("results/smoke/cells/") for path in first)
    # 8 cells, each with two checkpoints, its training table and provenance; the table of doses.
    assert last == "... and 28 more"
    follows = said.strip().splitlines()[-1]
    assert follows.startswith("Rebuilt because of the above (files by rule): ")
    assert "cache 12" in follows  # untrained weights are cached, too, of one weight decay
    assert "layer_stability 2" in follows
    assert "tokens" not in follows


def test_a_key_of_the_look_concerns_figures_alone(smoke):
    with replaced(smoke / STUDY, "refits: 2\n", "refits: 2\nfigures: {dpi: 100}\n"):
        said = why(smoke)
    assert list(reasons(said)) == ["figures.dpi was 200, is 100"]
    assert "because of the above" not in said


def test_a_changed_module_is_named(smoke):
    module = smoke / "scripts/headstability/measures/similarity.py"
    with kept(module):
        module.write_text(
            module.read_text().replace("GEMM_COLUMNS = 2**16", "GEMM_COLUMNS = 2**15")
        )
        said = why(smoke)
    found = reasons(said)
    assert list(found) == ["the code of scripts/headstability/measures/similarity.py changed"]
    files = next(iter(found.values()))
    assert all(path.startswith("results/smoke/conditions/") for path in files[:-1])
    assert "train" not in said.splitlines()[-1]
    with kept(module):
        module.write_text(f"# A comment.\n{module.read_text()}")
        assert why(smoke).startswith("Nothing would be rebuilt")


def test_an_input_edited_by_hand_is_named(smoke):
    table = smoke / ROOT / "tables/layer_stability.csv"
    with kept(table):
        table.write_text(table.read_text().replace("two", "tow"))
        said = why(smoke)
        name, contrasts = table.relative_to(smoke), ("weight_decay_contrast", "extremes")
        assert reasons(said) == {
            f"{name} is not what it was when this was made": [
                f"{ROOT}/figures/layer_stability.pdf",
                f"{ROOT}/figures/layer_stability.png",
                *(f"{ROOT}/tables/{name}.csv" for name in ("cross_layer", *contrasts)),
                "... and 4 more",  # recurrence, residual streams, weight norms
            ]
        }


def test_a_deleted_figure_is_made_again_for_its_own_sake(smoke):
    figure = smoke / FIGURE
    with kept(figure):
        figure.unlink()
        assert str(FIGURE) in reasons(why(smoke))["it does not exist yet"]
        assert str(FIGURE) in reasons(why(smoke, "layer_stability"))["it does not exist yet"]
        assert why(smoke, "head_map").startswith("Nothing would be rebuilt")


def test_an_added_seed_leaves_the_trained_cells_alone(smoke):
    with replaced(smoke / STUDY, "refits: 2", "refits: 3"):
        said = why(smoke)
    found = reasons(said)
    title = 'refits was ["seed1", "seed2"], is ["seed1", "seed2", "seed3"]'
    made_again = {
        title: "/",
        f"atlas.refits and {title}": "/tables/head_atlas/",
        "set of input files changed": "/tables/head_map/",  # the ablations of all refits
    }
    assert set(found) == {*made_again, "it does not exist yet"}
    for reason, place in made_again.items():
        assert all(place in path for path in found[reason][:-1])
        assert not any("/cells/" in path for path in found[reason])
    assert all("seed3" in path for path in found["it does not exist yet"][:-1])


def test_a_misspelt_target_is_explained(smoke):
    said = why(smoke, "layer_stabilty", ok=False)
    assert said.startswith("Error: there is no target 'layer_stabilty'; there are all, figures")
    assert said.endswith("Did you mean layer_stability?\n")


def test_a_wrong_config_is_explained(smoke):
    with replaced(smoke / STUDY, "steps: 30", "stpes: 30"):
        said = why(smoke, ok=False)
    assert "training.stpes" in said
