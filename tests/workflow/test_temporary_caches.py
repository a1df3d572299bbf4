"""A study whose caches are deleted once everything is measured on them."""

import pytest
from driver import contents, copy_repository, jobs, snakemake, write_study

SMALL = {
    "weight_decays": [0],
    "figures": {"include": ["layer_stability", "residual", "roles"]},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = copy_repository(tmp_path_factory.mktemp("temporary") / "repository")
    chosen = write_study(folder, "brief", caches={"keep": False}, **SMALL)
    snakemake(folder, "all", "--cores", "2", *chosen)
    return folder, chosen


def test_caches_are_gone_and_nothing_is_missed(study):
    folder, chosen = study
    cells = folder / "results/brief/cells"
    assert not list(cells.rglob("*.zarr.zip"))
    assert len(list(cells.glob("*/*/*/provenance.json"))) == 4
    assert jobs(folder, "all", *chosen) == []
    report = snakemake(folder, "verify", "--cores", "1", *chosen)
    assert "missing" not in report
    assert "orphaned" not in report


def test_what_is_measured_is_the_same(study, smoke):
    kept = contents(smoke / "results/smoke/conditions")
    found = contents(study[0] / "results/brief/conditions")
    assert len(found) > 12
    assert found == {path: kept[path] for path in found}


def test_a_cache_that_is_needed_again_is_made_again(study):
    folder, chosen = study
    (path,) = folder.glob("results/brief/conditions/two/wd0/*/residual/passages.csv")
    before = path.read_bytes()
    path.unlink()
    again = jobs(folder, "all", *chosen)
    assert sum("Caching two, wd 0, " in job for job in again) == 2
    assert not any("Training" in job or "Caching one" in job for job in again)
    snakemake(folder, "all", "--cores", "2", *chosen)
    assert path.read_bytes() == before
    assert not list((folder / "results/brief/cells").rglob("*.zarr.zip"))
    assert jobs(folder, "all", *chosen) == []


def test_turning_it_on_later_makes_nothing_again(study):
    folder, _ = study
    assert jobs(folder, "figures", *write_study(folder, "brief", **SMALL)) == []
