"""What docs/laptop holds is one run of studies/laptop.yaml."""

import json

from plans import plan_of_config
from test_quality import ROOT

from headstability.storage.files import SHA256_KEY, json_sha256
from headstability.study.config_file import read_config
from headstability.study.study import Study

FOLDER = ROOT / "docs/laptop"
STUDY = ROOT / "studies/laptop.yaml"


def test_it_was_run_with_the_study_that_is_shipped():
    assert read_config(FOLDER / "config.yaml") == read_config(STUDY)


# What rests on measures that are younger than the run.
LATER = {"claims.md", "recurrence", "identity", "verdicts", "claims", "dose", "time_course"}


def test_every_table_and_figure_of_its_day_is_there():
    raw = read_config(STUDY)
    results = f"results/{raw['study']}/"
    wanted = {path.removeprefix(results) for path in plan_of_config(raw).expected}
    wanted = {
        path
        for path in wanted
        if path.split("/")[0] in ("tables", "figures") and not path.endswith(".pdf")
        if path.split("/")[1].split(".")[0] not in LATER
    }
    found = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}
    assert found == wanted | {"config.yaml", "provenance.json"}
    assert len(wanted) > 90


def test_the_provenance_is_that_of_all_its_cells():
    study = Study(read_config(STUDY))
    cells = json.loads((FOLDER / "provenance.json").read_text())
    names = {"{architecture}/wd{weight_decay}/{refit}".format(**cell) for cell in study.cells()}
    assert set(cells) == names
    for name, cell in cells.items():
        recorded = cell.pop(SHA256_KEY)
        assert json_sha256(cell) == recorded, f"{name} was altered"
        assert cell["cell"] == name
    assert len({cell["train_tokens_sha256"] for cell in cells.values()}) == 1
    assert len({cell["weights_sha256"]["step1000"] for cell in cells.values()}) == len(cells)


def test_it_is_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 5e6
