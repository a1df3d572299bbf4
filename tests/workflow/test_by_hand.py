"""Scripts of rules are run by hand, as CONTRIBUTING.md says, with the jobs Snakemake would give."""

import json
import re
import shutil

import pytest
from driver import ROOT, SMOKE, jobs
from pages import python

(SHOWN,) = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL
)
# Runs every job given by hand; prints what it was given.
RUN = """
import json, sys
sys.path.insert(0, "scripts")
from by_hand import main_of, mock_job
for target in sys.argv[2:]:
    job = mock_job(target, sys.argv[1])
    main_of(job)(job)
    shown = {"input": dict(job.input.items()), "output": dict(job.output.items())}
    print(json.dumps({**shown, "wildcards": dict(job.wildcards.items()), "spec": job.spec,
                      "threads": job.threads, "files": [*job.input], "script": job.script}))
"""
CONDITION = "results/smoke/conditions/two/wd0.1"
CELL = "results/smoke/cells/two/wd0.1/seed2"
FIGURE = "results/smoke/figures/head_map/two/wd0.1.png"
# A figure, one of several, a table over the study; of a condition, and of a cell.
TARGETS = {
    "commonness": "results/smoke/figures/commonness.pdf",
    FIGURE: FIGURE,
    "perplexity_table": "results/smoke/tables/perplexity.csv",
    f"{CONDITION}/refits.csv": f"{CONDITION}/refits.csv",
    "norms": "results/smoke/conditions/one/wd0/step30/norms/passages/weights.csv",
    f"{CELL}/caches/step30/passages.zarr.zip": f"{CELL}/caches/step30/passages.zarr.zip",
}


@pytest.fixture(scope="module")
def by_hand(smoke, tmp_path_factory):
    """A copy in which files were deleted and made by hand, with their former bytes and the jobs."""
    folder = tmp_path_factory.mktemp("hand") / "repository"
    shutil.copytree(smoke, folder, symlinks=True)
    before = {path: (folder / path).read_bytes() for path in TARGETS.values()}
    for path in TARGETS.values():
        (folder / path).unlink()
    printed = python(folder, "-c", RUN, SMOKE[1], *TARGETS).splitlines()
    given = [json.loads(line) for line in printed if line.startswith('{"input"')]
    return folder, before, dict(zip(TARGETS, given, strict=True))


def test_files_made_by_hand_are_those_of_a_run(by_hand):
    folder, before, _ = by_hand
    assert [path for path in before if (folder / path).read_bytes() != before[path]] == []


def test_jobs_are_as_snakemake_gives_them(by_hand):
    given = by_hand[2]
    figure = given[FIGURE]
    assert figure["wildcards"] == {"architecture": "two", "weight_decay": "0.1"}
    assert figure["input"] == {"head_map": "results/smoke/tables/head_map/two/wd0.1.csv"}
    assert figure["output"] == {kind: f"{FIGURE[:-3]}{kind}" for kind in ("pdf", "png")}
    assert figure["spec"] == {"figures.dpi": 200, "figures.colormap": "viridis"}
    cache = given[f"{CELL}/caches/step30/passages.zarr.zip"]
    assert cache["input"]["weights"] == f"{CELL}/checkpoints/step30.safetensors"
    kept = [f"{CELL}/checkpoints/step{step}.safetensors" for step in (0, 30)]
    assert sorted(cache["input"]["kept"]) == kept
    assert cache["files"] == [
        cache["input"]["weights"],
        *cache["input"]["kept"],
        cache["input"]["prompts"],
    ]
    refits = given[f"{CONDITION}/refits.csv"]
    assert refits["input"] == {
        "provenance": [
            f"{CONDITION.replace('conditions', 'cells')}/seed{n}/provenance.json" for n in (1, 2)
        ]
    }
    assert given["norms"]["script"] == "conditions/norms.py"
    assert {job["threads"] for job in given.values()} == {1}


def test_the_page_shows_what_works(by_hand):
    folder = by_hand[0]
    figure = folder / TARGETS["commonness"]
    figure.unlink()
    # The page is about the default study.
    shutil.copy(folder / SMOKE[1], folder / "config.yaml")
    printed = python(folder, "-c", f"import sys; sys.path.insert(0, 'scripts')\n{SHOWN}")
    assert figure.is_file()
    assert "results/smoke/tables/commonness.csv" in printed
    assert jobs(folder, "commonness") == []


REFUSED = """
import sys
sys.path.insert(0, "scripts")
from by_hand import mock_job
from headstability.errors import UserError
for target in sys.argv[2:]:
    try:
        mock_job(target, sys.argv[1])
    except UserError as error:
        print(error)
"""


def test_there_is_no_such_job(by_hand):
    unknown = ("comonness", "results/smoke/tables/comonness.csv", f"{CONDITION}/refit.csv")
    said = python(by_hand[0], "-c", REFUSED, SMOKE[1], *unknown).splitlines()
    said = [line for line in said if "profile" not in line]
    assert ["Did you mean commonness?" in line for line in said] == [True, True, False]
    assert f"no rule makes {CONDITION}/refit.csv" in said[2]


TRAINING = """
import json, sys
sys.path.insert(0, "scripts")
from by_hand import mock_job
job = mock_job("train", sys.argv[1])
print(json.dumps([dict(job.output.items()), job.resources.save_seconds, len(job.output)]))
"""


def test_several_files_of_one_name_are_a_list(by_hand):
    output, seconds, count = json.loads(
        python(by_hand[0], "-c", TRAINING, SMOKE[1]).splitlines()[-1]
    )
    steps = [path.rpartition("/")[2] for path in output["weights"]]
    assert steps == ["step0.safetensors", "step30.safetensors"]
    assert output["training"].endswith("/training.csv")
    assert (seconds, count) == (20, 4)
