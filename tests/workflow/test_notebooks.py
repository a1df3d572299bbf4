"""A finished study from the outside: open_study, the documented example, make status."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from driver import ROOT, SMOKE, TINY, environment, kill_group, running, start, wait_for
from matplotlib.image import imread

from headstability.errors import UserError
from headstability.notebook.access import open_study
from headstability.storage.files import read_csv
from headstability.storage.stores import open_cache, pattern_of
from headstability.study.saved_config import record_config, recorded_config

CELL = "two/wd0.1/seed2"
CACHE = f"cells/{CELL}/caches/step30/passages.zarr.zip"


@pytest.fixture(scope="module")
def folder(smoke, tmp_path_factory):
    """The results of the smoke study alone, under another name and far from the repository."""
    return shutil.copytree(smoke / "results/smoke", tmp_path_factory.mktemp("copied") / "renamed")


@pytest.fixture
def study(folder):
    return open_study(folder)


@pytest.fixture
def without(folder):
    """A function that takes a file away, or alters it, until the test has ended."""
    kept = {}

    def change(name, data=None):
        path = folder / name
        kept[path] = path.read_bytes()
        path.unlink()
        if data is not None:
            path.write_bytes(data(kept[path]))
        return path

    yield change
    for path, data in kept.items():
        path.write_bytes(data)


def flipped(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


# --- a whole study ------------------------------------------------------------------------


def test_a_run_records_its_config_beside_the_results(smoke):
    config = yaml.safe_load((smoke / "studies/smoke.yaml").read_text())
    assert recorded_config(smoke / "results/smoke/config.yaml") == config


def test_a_plain_script_opens_a_study_without_snakemake_and_pytorch(folder, tmp_path):
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
        "from headstability.notebook.access import open_study\n"
        f"study = open_study({str(folder)!r})\n"
        "study.conditions['two/wd0'].patterns().sum().item()\n"
        "print(study)\n"
        "assert not {'snakemake', 'torch'} & set(sys.modules), 'slow to import'\n"
    )
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for words in (
        "Study 'smoke'",
        "one (1 layer, 16 heads), two (2 layers, 4 heads, attention only)",
        "refits         seed1, seed2 (anchor: seed1)",
        "steps 0, 30; prompt sets passages",
        "8 of 8 finished",
        "4 of 4 measured",
        "37 of 37 made",
    ):
        assert words in done.stdout, done.stdout


def test_what_is_listed_is_what_there_is(study, folder):
    assert len(study.cells) == 8
    assert list(study.conditions) == ["one/wd0", "one/wd0.1", "two/wd0", "two/wd0.1"]
    found = {
        str(path.relative_to(folder / "tables"))[:-4] for path in folder.rglob("tables/**/*.csv")
    }
    assert set(study.tables) == found
    condition = study.condition("two", 0.1)
    found = folder / "conditions/two/wd0.1"
    tables = {str(path.relative_to(found))[:-4] for path in found.rglob("*.csv")}
    assert set(condition.tables) == tables
    assert study.cell("two", 0.1, "seed2") is study.cells[CELL]
    assert study.cells[CELL].caches == [(30, "passages")]
    assert "finished; caches: step 30 on passages" in repr(study.cells[CELL])
    assert "2 of 2 refits finished (seed1, seed2)" in repr(condition)


def test_cells_hold_what_is_on_disk(study, folder):
    cell = study.cells[CELL]
    stored = open_cache(folder / CACHE)
    found = cell.cache()
    assert found.attrs["cell"] == CELL
    assert found.equals(stored.load())
    square = cell.patterns().sel(layer=2, head=3, prompt=4)
    expected = pattern_of(stored, 2, 3, 4)
    assert square.dims == ("query", "key")
    assert np.array_equal(square, expected)
    pd.testing.assert_frame_equal(cell.training, read_csv(folder / f"cells/{CELL}/training.csv"))
    assert cell.provenance["cell"] == CELL
    weights = cell.weights(0)
    assert weights["embed.weight"].shape == (300, 16)
    assert not np.array_equal(weights["embed.weight"], cell.weights()["embed.weight"])


def test_conditions_label_refits_by_name(study, folder):
    condition = study.conditions["two/wd0.1"]
    assert condition.patterns().dims == ("refit", "layer", "head", "prompt", "query", "key")
    patterns = condition.patterns().sel(refit="seed2")
    assert patterns.equals(study.cells[CELL].patterns().assign_coords(refit="seed2"))
    z = condition.caches()["z"].sel(refit="seed2")
    assert np.array_equal(z, open_cache(folder / CACHE)["z"])
    matches, cosines = condition.matches(), condition.similarity()["within"].mean("group")
    for row in matches.itertuples():
        here = {"layer": row.layer, "refit": row.anchor, "head": row.head, "other_refit": row.refit}
        assert cosines.sel(**here, other_head=row.match).item() == pytest.approx(
            row.similarity, abs=1e-6
        )
    assert (
        study.conditions["two/wd0"]
        .stability(0)
        .equals(study.conditions["two/wd0"].tables["step0/stability/passages/heads"])
    )


def test_tables_and_prompts(study, folder):
    assert study.tables["heads"].equals(read_csv(folder / "tables/heads.csv"))
    assert list(study.tables["head_map/two/wd0"]["layer"].unique()) == [1, 2]
    prompts = study.prompts()
    labels = study.tokens(2)
    assert (len(prompts["tokens"]), len(labels), labels[0]) == (6, 21, "BOS")
    assert "".join(labels[1:]).replace("␣", " ").replace("↵", "\n") == prompts["texts"][1]


def test_the_documented_lines_work(folder, monkeypatch):
    page = (ROOT / "docs/notebooks.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    monkeypatch.chdir(ROOT)
    names = {"study": None}
    for block in blocks:
        code = block.replace("results/default", str(folder)).replace("deep/", "two/")
        exec(code, names)
    assert names["one"].sizes["head"] == 4
    listed = set(re.findall(r"`\.(\w+)(?:\(|`|\[)", page)) - {"values", "load", "venv"}
    parts = (names["study"], names["condition"], names["condition"].cells["seed1"])
    assert listed, "the table of what there is"
    for name in listed:
        assert any(hasattr(part, name) for part in parts), name


# --- mistakes and unfinished studies ------------------------------------------------------


def test_names_that_are_not_there_are_answered_with_those_that_are(study):
    with pytest.raises(UserError, match=r"no cell 'two/wd0\.2/seed2'.*Did you mean 'two/wd0\.\d/s"):
        study.cell("two", 0.2, "seed2")
    with pytest.raises(KeyError, match=r"no table 'head'; it has .* Did you mean 'heads'"):
        study.tables["head"]
    with pytest.raises(UserError, match="no condition 'three/wd0'; it has one/wd0"):
        study.condition("three", 0)
    with pytest.raises(UserError, match=r"step '7' is not configured \(key training"):
        study.cells[CELL].cache(7)
    with pytest.raises(UserError, match="prompts 'mine' is not configured"):
        study.conditions["two/wd0"].patterns(prompts="mine")
    assert study.cells.get("nothing") is None


def test_a_wrong_folder_is_answered_with_the_right_ones(smoke, folder, tmp_path):
    with pytest.raises(UserError, match=r"defualt is not a folder; studies in .*results/smoke"):
        open_study(smoke / "results/defualt")
    with pytest.raises(
        UserError, match=r"(?s)config\.yaml is missing.*open_study\(folder, config="
    ):
        open_study(tmp_path)
    with pytest.raises(UserError, match=r"wrong\.yaml cannot be read"):
        open_study(folder, tmp_path / "wrong.yaml")
    with pytest.raises(UserError, match="is the config of study 'smoke', not of the one in"):
        open_study(folder, smoke / "studies/smoke.yaml")
    found = open_study(smoke / "results/smoke", smoke / "studies/smoke.yaml")
    assert list(found.cells) == list(open_study(folder).cells)


def test_what_is_missing_is_named_with_the_command_that_makes_it(study, without):
    without(CACHE)
    command = f"snakemake results/smoke/{CACHE} --cores 2 --configfile .*config.yaml"
    with pytest.raises(UserError, match=f"step 30 on passages of {CELL} is not there.*{command}"):
        study.cells[CELL].cache()
    with pytest.raises(UserError, match="the study is unfinished"):
        study.conditions["two/wd0.1"].patterns()
    with pytest.raises(UserError, match="made only when it is asked for"):
        study.cells[CELL].cache(0)
    without(f"cells/{CELL}/provenance.json")
    assert "7 of 8 finished" in repr(study)
    assert "unfinished" in repr(study.cells[CELL])
    without("tables/heads.csv")
    with pytest.raises(UserError, match="table heads is not there"):
        study.tables["heads"]


def test_damage_is_named_with_the_file_and_the_remedy(study, folder, without):
    remedy = "Delete it and run the study again"
    for name, read in (
        (CACHE, lambda: study.cells[CELL].cache().load()),
        ("tables/heads.csv", lambda: study.tables["heads"]),
        (f"cells/{CELL}/provenance.json", lambda: study.cells[CELL].provenance),
        (f"cells/{CELL}/checkpoints/step30.safetensors", study.cells[CELL].weights),
        ("corpus/prompts/passages.json", study.prompts),
    ):
        path = without(name, flipped)
        with pytest.raises(UserError, match=rf"{path.name} is damaged: .*{remedy}"):
            read()
    without("config.yaml", lambda data: data.replace(b"steps: 30", b"steps: 31"))
    with pytest.raises(UserError, match=r"(?s)config\.yaml is damaged.*Give the config"):
        open_study(folder)


def test_a_config_of_another_version_is_refused_with_its_reason(tmp_path):
    record_config(tmp_path / "config.yaml", {"study": "old", "colour": "blue"})
    with pytest.raises(UserError, match=r"(?s)cannot be opened.*colour.*Give the config"):
        open_study(tmp_path)


# --- the example --------------------------------------------------------------------------


def example(*arguments, cwd):
    script = ROOT / "docs/examples/least_stable_head.py"
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_example_shows_the_least_stable_head_of_every_refit(study, folder, tmp_path):
    done = example(folder, "two/wd0.1", "heads.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert imread(tmp_path / "heads.png").std() > 0.05
    table = pd.read_csv(tmp_path / "heads.csv")
    condition = study.conditions["two/wd0.1"]
    stability, matches = condition.stability(), condition.matches()
    assert list(table["refit"].unique()) == ["seed1", "seed2"]
    for refit, part in table.groupby("refit"):
        own = part[part["shown"] == "least stable head"]
        least = stability[stability["anchor"] == refit]["stability"].min()
        assert own["stability"].iloc[0] == pytest.approx(least, abs=1e-9)
        layer, head = own.iloc[0][["layer", "head"]]
        same = (
            (matches["anchor"] == refit) & (matches["layer"] == layer) & (matches["head"] == head)
        )
        assert part["cosine"].iloc[0] == pytest.approx(matches[same]["similarity"].max(), abs=1e-9)
        for shown, whose, number in (
            (own, refit, head),
            (part[part["shown"] == "closest match"], *part.iloc[0][["match_refit", "match"]]),
        ):
            stored = open_cache(folder / f"cells/two/wd0.1/{whose}/caches/step30/passages.zarr.zip")
            square = pattern_of(stored, layer, number, 1).values
            assert len(shown) == 16 * 17 // 2
            for row in shown.itertuples():
                assert row.attention == pytest.approx(square[row.query - 1, row.key - 1], abs=1e-6)


def test_the_example_says_what_is_wrong(folder, tmp_path):
    done = example(folder, "two/wd5", cwd=tmp_path)
    assert done.returncode == 1
    assert "has no condition 'two/wd5'; it has one/wd0" in done.stderr
    assert "Traceback" not in done.stderr


# --- status -------------------------------------------------------------------------------


def status(folder, *arguments):
    done = subprocess.run(
        [sys.executable, "scripts/status.py", *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    return done.stdout


def test_a_run_says_how_far_the_study_is_as_cells_finish(smoke):
    log = (smoke / "run.log").read_text()
    lines = [line for line in log.splitlines() if line.startswith("Study smoke: ")]
    assert lines
    assert all(" of 8 cells, " in line for line in lines)
    kept = "".join(path.read_text() for path in (smoke / ".snakemake/log").glob("*.log"))
    assert lines[0] in kept, "in Snakemake's own log, too"


def test_a_finished_study_is_complete(smoke):
    text = status(smoke, *SMOKE)
    assert text.startswith("Study smoke: complete; no run is going on.")
    for row in ("  cells              8 of 8 done", "  tables           33 of 33 done"):
        assert row in text
    assert status(smoke, *SMOKE, "--watch").strip() == text.strip(), "and watching it ends"


def test_a_study_before_its_first_run(smoke):
    assert "Study default: not started." in status(smoke)
    done = subprocess.run(
        [sys.executable, "scripts/status.py", "--configfile", "nothing.yaml"],
        cwd=smoke,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "nothing.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_is_seen_while_it_goes_on_and_after_it_was_killed(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "repository", symlinks=True)
    cell = "results/tiny/cells/one/wd0.1/seed2"
    shutil.rmtree(folder / cell)
    process = start(folder, f"{cell}/provenance.json", "--cores", "1", *TINY)
    mark = folder / cell / ".resume/lock"
    try:
        wait_for(mark.exists, process)
        next(job for rule, job in running(process) if rule == "train").suspend()
        text = status(folder, *TINY)
        assert "a run is going on since" in text
        assert "1 of 2 done   1 running" in text
        assert "train one/wd0.1/seed2" in text
        assert "Time left: " in text
    finally:
        kill_group(process)
    text = status(folder, *TINY)
    assert "interrupted: no run is going on" in text
    assert "Run the same command to continue." in text
    assert "train one/wd0.1/seed2" in text.partition("Interrupted:")[2]
    assert Path(folder, "results/tiny/config.yaml").exists()
