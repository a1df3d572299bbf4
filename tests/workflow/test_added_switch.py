"""docs/add-a-switch.md, followed to the letter in a copy of the repository."""

import json

import pandas as pd
import pytest
from driver import copy_repository, snakemake, write_text, write_tiny
from pages import commands, follow, make_docs, page, python, run_unit_tests
from safetensors import safe_open

PAGE = page("add-a-switch.md")
SIZES = {"layers": 1, "heads": 2, "d_model": 16}
# Whether sizes of weights are those of the module, and what a study takes.
COUNTED = """
import sys
sys.path.insert(0, "scripts")
from headstability.models.shape import Shape
from headstability.models.transformer import Transformer
for switches in ({}, {"positions": False}):
    shape = Shape(2, 2, 8, True, 16, 30, **switches)
    sizes = {name: tuple(value.shape) for name, value in Transformer(shape).state_dict().items()}
    assert shape.parameters == sum(p.numel() for p in Transformer(shape).parameters())
    assert shape.tensors == len(sizes)
"""
# Models from elsewhere have the default; neither format can express another.
EXCHANGED = """
import sys
from pathlib import Path
sys.path.insert(0, "scripts")
from headstability.errors import UserError
from headstability.exchange.exporting import write_transformerlens
from headstability.exchange.importing import Origin, import_weights
from headstability.models.shape import Shape
from headstability.models.transformer import Transformer
sizes = {"layers": 1, "heads": 2, "d_model": 16, "mlp": True}
folder = Path(sys.argv[1])
write_transformerlens(Transformer(Shape(**sizes, context=8, vocabulary=9)), folder / "final.pt",
                      folder / "config.json")
origin = Origin("transformerlens", folder / "final.pt", "final.pt")
for positions in (True, False):
    try:
        import_weights(origin, {}, {**sizes, "positions": positions}, {}, folder / "a.safetensors")
    except UserError as error:
        print(positions, error)
"""


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    folder = copy_repository(tmp_path_factory.mktemp("switch") / "repository")
    follow(PAGE, folder)
    assert commands(PAGE) == ["make docs"]
    make_docs(folder)
    return folder


@pytest.fixture(scope="module")
def studied(followed):
    """The copy in which a study with and without the switch has run, on a shape of the paper."""
    write_tiny(
        followed,
        architectures={"plain": SIZES, "switched": {**SIZES, "positions": False}},
        corpus=write_text(followed),
        training={"steps": 30, "evaluate_every": 30, "checkpoint_steps": []},
        figures={"include": ["extremes", "claims"]},
    )
    return followed, snakemake(followed, "all", "--cores", "2", "--configfile", "tiny.yaml")


def header_of(path):
    with safe_open(str(path), framework="pt") as handle:
        return json.loads(handle.metadata()["header"]), set(handle.keys())


def test_a_cell_trains_with_it(studied):
    cells = studied[0] / "results/tiny/cells"
    for name, positions in (("plain", True), ("switched", False)):
        (path,) = cells.glob(f"**/{name}/**/seed1/**/step30.safetensors")
        header, tensors = header_of(path)
        assert header["shape"]["positions"] is positions
        assert ("position.weight" in tensors) == positions


def test_tables_show_it_and_compare_nothing_that_differs_in_it(studied):
    tables = studied[0] / "results/tiny/tables"
    extremes = pd.read_csv(tables / "extremes.csv")
    shown = dict(zip(extremes["architecture"], extremes["positions"], strict=True))
    assert shown == {"plain": True, "switched": False}
    reasons = set(pd.read_csv(tables / "claims.csv")["reason"].dropna())
    alike = "heads, d_model, mlp and positions equal"
    assert f"no two architectures differ in layers alone ({alike})" in reasons


@pytest.mark.parametrize("form", ["transformerlens", "huggingface"])
def test_exports_refuse_it_by_name(studied, form):
    run = ("--cores", "2", "--keep-going", "--configfile", "tiny.yaml")
    output = snakemake(studied[0], f"export_{form}", *run, ok=False)
    assert "cannot have positions = False: export a cell of an architecture whose" in output
    exports = studied[0] / "results/tiny/exports" / form
    made = {path.relative_to(exports).parts[0] for path in exports.glob("**/config.json")}
    assert made == {"plain"}


def test_models_from_elsewhere_cannot_have_it(followed, tmp_path):
    said = python(followed, "-c", EXCHANGED, tmp_path).splitlines()
    (refused,) = said
    assert refused.startswith("False ")
    assert "has positions = True, the config says False: correct the architecture's" in refused


def test_the_estimate_counts_its_weights(followed):
    python(followed, "-c", COUNTED)


def test_the_tests_of_models_and_of_the_config_hold(followed):
    names = ["test_model.py", "test_checkpoints.py", "test_config_reference.py", "test_derived.py"]
    names += ["test_costs.py::test_parameters_are_those_of_the_model"]
    names += ["test_quality.py::test_the_default_study_explains_every_key"]
    assert run_unit_tests(followed, *(f"tests/unit/{name}" for name in names))
