"""The code hashes of the rules: edits of the library, and what really runs in a job."""

import ast
import inspect
import runpy
import shutil
import sys
import threading
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from looks import LOOK
from snakemake.iocontainers import InputFiles, OutputFiles, Wildcards
from test_claims_tables import study_of
from test_conditions import REFITS, caches, paths  # noqa: F401 - a fixture

import job
from headstability.registry.rows import BY_NAME, ROWS
from headstability.storage.files import write_csv
from headstability.workflow import fingerprints
from headstability.workflow.fingerprints import WITHOUT_EFFECT, job_code

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
LIBRARY = SCRIPTS / "headstability"
SHOWN = ROOT / "docs/laptop/tables"
TABLE, FIGURE = "figures/table.py", "figures/figure.py"


def code_of_rules():
    """The script of every rule and what it is told, as job_code takes them."""
    found = {}
    for path in SCRIPTS.glob("*/*.py"):
        script = str(path.relative_to(SCRIPTS))
        if script not in (TABLE, FIGURE) and "\nrun(snakemake, main)\n" in path.read_text():
            found[path.stem] = (script, {})
    for row in ROWS:
        found[row.table_rule] = (TABLE, {"function": row.function})
        if row.draw:
            found[row.rule] = (FIGURE, {"function": row.draw})
    return found


def hashes(folder):
    return {rule: job_code(folder, *code) for rule, code in code_of_rules().items()}


# --- edits --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("code") / "scripts"
    shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def before(copied):
    """Hashes of the unedited copy, which every test puts back."""
    found = hashes(copied)
    assert found == hashes(SCRIPTS)
    return found


TABLES = {row.table_rule for row in ROWS}
# Tables of a cell or a condition; the others write arrays, weights or text.
MEASURED = {
    "train",
    "evaluate",
    "ablation",
    "role_scores",
    "refits",
    "stability",
    "adjust",
    "twins",
    "norms",
}
MEASURED |= {"prefixes", "residual_similarity", "role_stability"}
EDITS = {
    "a drawing": (
        "plots/questions.py",
        'rows["decay"], rows, color, label, lw=2',
        'rows["decay"], rows, color, label, lw=3',
        {"dose"},
    ),
    "what some drawings share": (
        "plots/questions.py",
        "color=color, lw=1)",
        "color=color, lw=2)",
        {"origin", "dose", "time_course"},
    ),
    "writing tables": (
        "storage/files.py",
        "to_csv(index=False, float_format=CSV_FLOAT_FORMAT",
        "to_csv(index=True, float_format=CSV_FLOAT_FORMAT",
        TABLES | MEASURED,
    ),
    "errors": ("errors.py", "class UserError(Exception)", "class UserError(ValueError)", set()),
    # Some tables read the registry that holds the functions of measures.
    "products of all rows": (
        "measures/similarity.py",
        "return cross(rows, rows)",
        "return cross(rows, rows) + 0",
        {"similarity", "prefixes", "measures", "adjust", "twins", "adjusted_table"},
    ),
    "downloads": (
        "hub/download.py",
        "        self.repo, self.revision = repo, revision\n",
        "        self.revision, self.repo = revision, repo\n",
        {"download_weights", "tokenizer", "corpus"},
    ),
    "a statement nobody uses": ("models/shape.py", "\n\n\n", "\n\nUNUSED = 1\n\n\n", set()),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_concerns_exactly_the_rules_that_use_it(copied, before, name):
    file, old, new, concerned = EDITS[name]
    path = copied / "headstability" / file
    original = path.read_text()
    assert old in original
    path.write_text(original.replace(old, new, 1))
    try:
        after = hashes(copied)
    finally:
        path.write_text(original)
    assert {rule for rule in before if before[rule] != after[rule]} == concerned


# --- what really runs ---------------------------------------------------------------------


def main_of(script, monkeypatch):
    """The function `main` of a script, without running it."""
    with monkeypatch.context() as patched:
        patched.setattr(job, "run", lambda snakemake, main: None)
        return runpy.run_path(str(SCRIPTS / script), {"snakemake": None})["main"]


def executed(function, *args):
    """Code of functions of the library that a call runs, but for what has no effect on outputs."""
    found = set()

    def note(frame, event, argument):
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(LIBRARY)):
            return
        if not code.co_flags & inspect.CO_OPTIMIZED:  # the body of a module or a class
            return
        while frame:
            if module_of(frame.f_code.co_filename) in WITHOUT_EFFECT:
                return
            frame = frame.f_back
        found.add(code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        function(*args)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return found


def module_of(path):
    path = Path(path)
    inside = path.is_relative_to(SCRIPTS)
    return ".".join(path.relative_to(SCRIPTS).with_suffix("").parts) if inside else ""


def statement_of(code):
    """The statement of its module in which a function is defined, as fingerprints note it."""
    for statement in ast.parse(Path(code.co_filename).read_bytes()).body:
        decorators = getattr(statement, "decorator_list", [])
        first = min(node.lineno for node in (statement, *decorators))
        if first <= code.co_firstlineno <= statement.end_lineno:
            return fingerprints._Text().of(statement)
    raise AssertionError(code)


def uncovered(codes, script, call):
    """Functions that ran although no hash of the job covers them."""
    functions = [f"headstability.{call['function']}"] if call else []
    covered = fingerprints._used_code(SCRIPTS / script, functions, SCRIPTS)
    return {
        f"{module_of(code.co_filename)}:{code.co_qualname}"
        for code in codes
        if statement_of(code) not in covered.get(module_of(code.co_filename), ())
    }


def made(inputs, outputs, spec, call=None, **wildcards):
    """A job of which Snakemake knows nothing."""
    found = job.Job.__new__(job.Job)
    found.input, found.output = InputFiles(fromdict=inputs), OutputFiles(fromdict=outputs)
    found.wildcards, found.threads = Wildcards(fromdict=wildcards), 1
    found.spec, found.call = spec, call or {}
    return found


def shown(name, folder):
    """A table of the laptop's study, or of a study in which the claims hold, as a file."""
    path = SHOWN / f"{name}.csv"
    table = study_of()[0] if name == "claims" else pd.read_csv(path, dtype={"weight_decay": str})
    write_csv(folder / f"{name}.csv", table)
    return str(folder / f"{name}.csv")


@pytest.mark.parametrize("name", ["perplexity", "claims"])
def test_everything_a_drawing_runs_is_covered(name, tmp_path, monkeypatch):
    row = BY_NAME[name]
    spec = {**LOOK, "weight_decays": ["0", "0.1", "0.2"]}
    call = {"function": row.draw, "look": {key: key for key in row.look}}
    files = {table: shown(table, tmp_path) for table in (name, *row.draws)}
    drawn = {kind: str(tmp_path / f"drawn.{kind}") for kind in ("pdf", "png")}
    import_module(f"headstability.{row.draw.partition(':')[0]}")
    main = main_of(FIGURE, monkeypatch)
    codes = executed(main, made(files, drawn, spec | {"figures.dpi": 50}, call))
    assert {"set_style", "save_figure", row.draw.partition(":")[2]} <= {c.co_name for c in codes}
    assert uncovered(codes, FIGURE, call) == set()
    assert uncovered(codes, FIGURE, {"function": BY_NAME["pairwise"].draw}) != set()


WIDTH = {
    "width": 0.05,
    "draws": 20,
    "seed": 0,
    "refits": [f"seed{number}" for number in range(1, 6)],
}


@pytest.mark.parametrize(
    ("name", "shape"),
    [("stability_ablation", {}), ("weight_decay_contrast", {}), ("refits_needed", WIDTH)],
)
def test_everything_a_table_runs_is_covered(name, shape, tmp_path, monkeypatch):
    row = BY_NAME[name]
    pattern = f"{tmp_path}/pairwise/{{architecture}}/wd{{weight_decay}}.csv"
    files, inputs = {}, {}
    for argument, how in row.inputs.items():
        files[argument] = shown(how.source if how.table else "pairwise/depth4/wd0.1", tmp_path)
        inputs[argument] = {"labels": how.labels, "hashed": True, "pattern": pattern}
    call = {"function": row.function, "inputs": inputs, "uses": {key: key for key in row.uses}}
    outputs = {table: str(tmp_path / f"made/{table}.csv") for table in row.columns}
    import_module(f"headstability.{row.function.partition(':')[0]}")
    main = main_of(TABLE, monkeypatch)
    codes = executed(main, made(files, outputs, shape, call))
    assert {"write_csv", row.function.partition(":")[2]} <= {code.co_name for code in codes}
    assert uncovered(codes, TABLE, call) == set()
    assert uncovered(codes, TABLE, {"function": BY_NAME["pairwise"].function}) != set()


def test_everything_a_condition_runs_is_covered(caches, tmp_path, monkeypatch):  # noqa: F811
    spec = {"refit_names": REFITS, "prompt_lengths": {"prompts": 2, "tokens": [2, 3]}}
    files = {"caches": list(map(str, paths(caches[0]))), "similarity": f"{tmp_path}/s.zarr.zip"}
    condition = {"architecture": "a", "weight_decay": "0", "step": "7"}
    tables = {
        "similarity": ["similarity"],
        "stability": ["heads", "pairs", "matches", "cross_layer", "commonness"],
        "prefixes": ["lengths"],
    }
    for rule, names in tables.items():
        outputs = {name: f"{tmp_path}/{rule}/{name}.csv" for name in names}
        if rule == "similarity":
            outputs = {"similarity": files["similarity"]}
        script = f"conditions/{rule}.py"
        main = main_of(script, monkeypatch)
        codes = executed(main, made(files, outputs, spec, **condition))
        assert codes
        assert uncovered(codes, script, {}) == set()
