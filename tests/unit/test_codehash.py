"""The code hashes of a script: what changes them and what does not."""

import shutil
from pathlib import Path

import pytest

from headstability.codehash import code_hashes

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

FILES = {
    "script.py": '''"""A script."""

import json

from package.helper import work
from job import run


def main():
    """Do it."""
    from package import late

    return work(late.VALUE)
''',
    "job.py": "from package.unrelated import run\n",
    "loose.py": "VALUE = 1\n",
    "package/__init__.py": "",
    "package/helper.py": '''"""Help."""

from . import deep
from .errors_of_mine import Problem


class Worker:
    """Works."""

    def work(self, x):
        # a comment
        return deep.double(x) + 1


def work(x):
    return Worker().work(x)
''',
    "package/deep.py": "def double(x):\n    return 2 * x\n",
    "package/late.py": "VALUE = 3\n",
    "package/errors_of_mine.py": "class Problem(Exception):\n    pass\n",
    "package/unrelated.py": "def run():\n    pass\n",
}


@pytest.fixture
def hashes(tmp_path):
    """A function: the hashes of the script with some of the files edited."""
    count = 0

    def hashed(**edits):
        nonlocal count
        count += 1
        root = tmp_path / str(count)
        for name, text in FILES.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            for old, new in edits.get(name.replace("/", "__").removesuffix(".py"), {}).items():
                assert old in text
                text = text.replace(old, new, 1) if old else new + text
            path.write_text(text)
        return code_hashes(root / "script.py")

    return hashed


HELPER = "package__helper"


@pytest.mark.parametrize(
    "edits",
    [
        {},
        {HELPER: {"# a comment": "# another comment, and a longer one"}},
        {HELPER: {'"""Help."""': '"""Help in other words."""'}},
        {HELPER: {'"""Help."""\n': ""}},
        {HELPER: {'    """Works."""\n\n': ""}},
        {HELPER: {"def work(x):\n": 'def work(x):\n    """Described at last."""\n'}},
        {HELPER: {"deep.double(x) + 1": "(deep.double( x )\n            + 1)"}},
        {HELPER: {"class Worker": "\n\n\n\nclass Worker"}},
        {"script": {'"""A script."""': "'''A script.'''"}},
        {"script": {"    return": "    # say why\n    return"}},
        {"package____init__": {"": '"""The package."""\n'}},
        {"package____init__": {"": "# nothing here\n"}},
        {"package__unrelated": {"pass": "return 3"}},
        {"loose": {"1": "2"}},
        {"job": {"": "import loose\n"}},
    ],
)
def test_what_does_not_change_the_hash(hashes, edits):
    assert hashes(**edits) == hashes()


@pytest.mark.parametrize(
    "edits",
    [
        {"script": {"work(late.VALUE)": "work(late.VALUE + 0)"}},
        {"script": {"import json": "import math"}},
        {HELPER: {"+ 1": "+ 2"}},
        {HELPER: {"+ 1": "+ 1.0"}},
        {HELPER: {"+ 1": "- 1"}},
        {HELPER: {"(self, x)": "(self, x, y=None)"}},
        {HELPER: {"        # a comment\n": '        "not a docstring", x\n'}},
        {"package__deep": {"2 * x": "3 * x"}},
        {"package__late": {"3": "'3'"}},
        {"package__errors_of_mine": {"Exception": "ValueError"}},
        {"package____init__": {"": "FLAG = True\n"}},
        {"script": {"import json": "import loose"}},
    ],
)
def test_what_changes_the_hash(hashes, edits):
    assert hashes(**edits) != hashes()


def test_a_module_imported_in_any_way_counts(hashes):
    """Absolute, relative, of a name, inside a function, through the package's __init__."""
    ways = (
        {"script": {"import json": "import package.unrelated"}},
        {"script": {"import json": "import package.unrelated as u"}},
        {"script": {"import json": "from package import unrelated"}},
        {"script": {"import json": "from package.unrelated import run as go"}},
        {HELPER: {"from . import deep": "from . import deep, unrelated"}},
        {"package__deep": {"    return": "    from .unrelated import run\n    return"}},
        {"package____init__": {"": "from .unrelated import run\n"}},
        {"package____init__": {"": "from package.unrelated import *\n"}},
    )
    for way in ways:
        edited = {**way, "package__unrelated": {"pass": "return 3"}}
        assert hashes(**edited) != hashes(**way), way


def test_editing_a_file_in_place_is_noticed(hashes, tmp_path):
    first = hashes()
    path = tmp_path / "1" / "package" / "deep.py"
    path.write_text("def double(x):\n    return x + x  # twice\n")
    assert code_hashes(tmp_path / "1" / "script.py") != first


def test_the_folder_does_not_matter(hashes, tmp_path, monkeypatch):
    first = hashes()
    monkeypatch.chdir(tmp_path / "1")
    assert code_hashes("script.py") == first
    assert all(len(value) == 16 for value in first.values())


def test_every_module_has_a_hash_of_its_own(hashes):
    """So that an edit can be named; modules without effect have none."""
    first = hashes()
    names = ("package", "package.helper", "package.deep", "package.late", "package.errors_of_mine")
    assert set(first) == {"script", *names}
    second = hashes(package__deep={"2 * x": "3 * x"})
    assert {name for name in first if first[name] != second[name]} == {"package.deep"}


# --- the real scripts ---------------------------------------------------------------------

TRAINING = {"train"}
MODELS = {"train", "cache", "ablation"}
STABILITY = {"stability"}
TABLES = {"head_map_table", "heads_table", "layer_stability_table", "stability_ablation_table"}
FIGURES = {"draw_head_map", "draw_pairwise", "layer_stability", "stability_ablation"}
TEXT = {"corpus", "tokenizer", "tokens", "prompts"}
# Looking at everything, it depends on nearly everything; it makes no file.
VERIFY = {"verify"}
EXPORTS = {"write_transformerlens", "write_huggingface"}
IMPORT = {"import_weights"}
# Both come from files or the hub: what reads those.
FETCHED = {"import_weights", "download_weights"}
ANALYSED = {"cache", "ablation"} | IMPORT
ALL = (
    EXPORTS
    | FETCHED
    | {"published"}
    | MODELS
    | STABILITY
    | TABLES
    | FIGURES
    | TEXT
    | VERIFY
    | {"pairwise_table", "refits"}
)
EDITS = {
    "model": MODELS | EXPORTS | IMPORT | VERIFY,
    "checkpoints": MODELS | EXPORTS | IMPORT | VERIFY,
    "activations": {"cache", "ablation"},
    "ablation": {"ablation"},
    "caches": {"cache", *STABILITY, *VERIFY},
    "conditions": STABILITY,
    "statistics": {"heads_table", "stability_ablation_table"},
    "identity": {"refits"},
    "labels": TABLES | FIGURES | {"published"},
    "files": ALL,
    "verify": VERIFY,
    "training": TRAINING,
    "similarity": STABILITY,
    "plots/style": FIGURES,
    "plots/layers": {"layer_stability"},
    "plots/heads": {"draw_head_map", "draw_pairwise"},
    "plots/ablation": {"stability_ablation"},
    "tables/reading": {"heads_table", "layer_stability_table"},
    "tables/stability": {"head_map_table", "layer_stability_table"},
    "tables/ablation": {"heads_table", "stability_ablation_table"},
    "tokens": {"prompts", "ablation", "train", *IMPORT, *VERIFY},
    "tokenization": {"tokenizer", "tokens", "prompts"},
    "prompts": {"prompts"},
    "corpus": {"corpus", "tokenizer", "tokens"},
    "traced": ANALYSED,
    "loading": ANALYSED,
    "sources/adapters": ANALYSED,
    "sources/huggingface": ANALYSED,
    "sources/tensors": ANALYSED | FETCHED | EXPORTS | {"tokenizer"},
    "sources/transformerlens": EXPORTS | IMPORT,
    "sources/own": EXPORTS | IMPORT,
    "sources/folders": ANALYSED | FETCHED | {"tokenizer"},
    "tables/published": {"published"},
    "sources/importing": IMPORT,
    "sources/origins": IMPORT,
    "sources/download": {"download_weights", "tokenizer"},
    "source_places": set(),
    "estimate": set(),
    "source_rules": set(),
    "exports/writing": EXPORTS,
    "exports/modeling_headstability": EXPORTS,
    # The config reaches jobs only through their specifications.
    "schema": set(),
    "config_check": set(),
    "config_rules": set(),
    "config_words": set(),
    "catalogue": set(),
    "kinds": set(),
    "specs": set(),
    "study": set(),
    "paths": set(),
    "jobs": set(),
    "why": set(),
    "codehash": set(),
    "errors": set(),
    "liveness": set(),
    "versions": set(),
    "progress": set(),
}


def all_hashes(folder):
    """Hashes of the scripts of rules: what else lies in scripts/ runs no job."""
    scripts = [
        path
        for path in folder.glob("*.py")
        if path.read_text().endswith("\nrun(snakemake, main)\n")
    ]
    return {path.stem: code_hashes(path) for path in scripts}


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("code") / "scripts"
    shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_every_script_is_covered(copied):
    assert set(all_hashes(copied)) == ALL
    assert all_hashes(copied) == all_hashes(SCRIPTS)
    library = SCRIPTS / "headstability"
    modules = {path.relative_to(library).with_suffix("") for path in library.rglob("*.py")}
    assert set(EDITS) == {str(path) for path in modules if path.name != "__init__"}


@pytest.mark.parametrize("module", EDITS)
def test_an_edit_reruns_exactly_the_scripts_that_use_it(copied, module):
    before = all_hashes(copied)
    path = copied / "headstability" / f"{module}.py"
    original = path.read_text()
    path.write_text(f"{original}\n\nEDITED = True\n")
    try:
        after = all_hashes(copied)
    finally:
        path.write_text(original)
    assert {name for name in before if before[name] != after[name]} == EDITS[module]


def test_an_edit_of_job_reruns_nothing(copied):
    before = all_hashes(copied)
    path = copied / "job.py"
    path.write_text(path.read_text() + "\n\nEDITED = True\n")
    assert all_hashes(copied) == before
