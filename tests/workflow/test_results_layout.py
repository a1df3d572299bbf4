"""The files of a run are those of docs/results.md: columns, dimensions, and none left out."""

import pandas as pd
import pytest
import xarray as xr
import zarr
from results_page import quoted, said_of, variables


@pytest.fixture(scope="module")
def files(smoke):
    root = smoke / "results/smoke"
    return {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}


def test_no_file_is_unknown(files):
    assert [name for name in files if said_of(name) is None] == []


def test_tables_have_the_columns_of_the_page(files):
    tables = {name: path for name, path in files.items() if name.endswith(".csv")}
    assert len(tables) > 60
    for name, path in tables.items():
        assert list(pd.read_csv(path, nrows=0)) == quoted(said_of(name)), name


@pytest.mark.parametrize(("section", "kind"), [("Cells", "caches"), ("Conditions", "similarity")])
def test_archives_have_the_variables_of_the_page(files, section, kind):
    archives = [path for name, path in files.items() if kind in name and name.endswith(".zip")]
    assert archives
    listed = variables(section)
    for path in archives:
        with zarr.storage.ZipStore(path, mode="r") as store:
            data = xr.open_zarr(store, consolidated=False)
            found = {name: list(v.dims) for name, v in data.variables.items()}
        numbered = {name for name, dims in found.items() if dims == [name]}
        assert numbered >= {"layer", "head"}
        found = {name: dims for name, dims in found.items() if name not in numbered}
        optional = {"resid_pre"}
        assert found == {name: dims for name, dims in listed.items() if name not in optional}
