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
MODELS = {"train", "cache", "ablation", "evaluate", "role_scores"}
STABILITY = {"similarity", "stability"}
LAYERS = {"cross_layer", "commonness", "weight_decay_contrast", "extremes"}
LAYER_TABLES = {f"{name}_table" for name in LAYERS}
TABLES = {"head_map_table", "heads_table", "layer_stability_table", "stability_ablation_table"}
TABLES |= LAYER_TABLES | {"perplexity_table", "prompt_length_table"}
FIGURES = {"draw_head_map", "draw_pairwise", "layer_stability", "stability_ablation", *LAYERS}
STREAMS = {"residual_similarity", "norms"}
STREAM_TABLES = {"residual_table", "attention_norms_table", "weight_norms_table"}
STREAM_FIGURES = {"residual", "attention_norms", "weight_norms"}
MAP = {"meta_sne_table"}
TABLES |= STREAM_TABLES
FIGURES |= {*STREAM_FIGURES, "draw_meta_sne"}
FIGURES |= {"perplexity", "prompt_length", "draw_head_atlas"}
QUESTIONS = {"origin", "dose", "time_course", "refits_needed"}
QUESTION_TABLES = {f"{name}_table" for name in QUESTIONS}
TABLES |= {*QUESTION_TABLES, "role_stability", "roles_table"}
FIGURES |= {*QUESTIONS, "roles"}
ROLES = {"role_scores", "role_stability"}
# Jobs that read the patterns of refits.
PATTERNS = {"similarity", "prefixes", "head_atlas_table", "role_scores"}
TEXT = {"corpus", "tokenizer", "tokens", "prompts"}
ADJUSTED = {"adjust", "adjusted_table", "adjusted", "claims_table", "claims"}
# The statistics of claims; of these the tables of ablation flag dead heads.
CLAIMED = {"heads_table", "stability_ablation_table", "head_map_table", "claims_table"}
TABLES, FIGURES = TABLES | {"adjusted_table"}, FIGURES | {"adjusted", "claims"}
# Looking at everything, it depends on nearly everything; it makes no file.
VERIFY = {"verify"}
EXPORTS = {"write_transformerlens", "write_huggingface"}
IMPORT = {"import_weights"}
FETCHED = {"import_weights", "download_weights"}
# Jobs that run models, whoever trained them.
ANALYSED = {"cache", "ablation", "evaluate", "role_scores"} | IMPORT
ALL = (
    EXPORTS
    | FETCHED
    | STREAMS
    | MAP
    | PATTERNS
    | MODELS
    | STABILITY
    | TABLES
    | FIGURES
    | TEXT
    | VERIFY
    | ADJUSTED
    | {"pairwise_table", "refits", "published"}
)
EDITS = {
    "model": MODELS | EXPORTS | IMPORT | VERIFY,
    "shape": MODELS | EXPORTS | IMPORT | VERIFY,
    "checkpoints": MODELS | EXPORTS | IMPORT | VERIFY,
    "activations": {"cache", "ablation"},
    "ablation": {"ablation"},
    "caches": {"cache", "adjust", *STABILITY, *PATTERNS, *STREAMS, *MAP, *VERIFY},
    "triangles": {"ablation", "cache", "adjust", *STABILITY, *PATTERNS, *STREAMS, *MAP, *VERIFY},
    "conditions": {*STABILITY, "prefixes", "role_scores", "adjust"},
    "statistics": {*CLAIMED, *STREAM_TABLES},
    "identity": {"refits"},
    "labels": (TABLES | FIGURES | {"claims_table", "published"}) - {"roles_table"},
    "tables/measures": {"stability"},
    "tables/layers": LAYER_TABLES,
    "plots/depth": {"cross_layer", "extremes"},
    "files": ALL,
    "verify": VERIFY,
    "training": TRAINING,
    "similarity": {*STABILITY, "prefixes", *ROLES, "adjust", "adjusted_table"},
    "plots/style": FIGURES,
    "plots/layers": {"layer_stability", "commonness", "weight_decay_contrast"},
    "plots/heads": {"draw_head_map", "draw_pairwise"},
    "plots/ablation": {"stability_ablation"},
    "tables/reading": {
        *("heads_table", "layer_stability_table", "cross_layer_table", "commonness_table"),
        *STREAM_TABLES,
        *("perplexity_table", "prompt_length_table"),
        *(*QUESTION_TABLES, "role_stability", "roles_table"),
        *("adjusted_table", "claims_table"),
    },
    "tables/stability": {"head_map_table", "layer_stability_table"},
    "tables/ablation": {"heads_table", "stability_ablation_table", "head_map_table"},
    "tokens": {"prompts", "ablation", "train", "evaluate", *IMPORT, *VERIFY},
    "tokenization": {"tokenizer", "tokens", "prompts", "evaluate", "head_atlas_table"},
    "prompts": {"prompts"},
    "corpus": {"corpus", "tokenizer", "tokens", "evaluate"},
    "refit_caches": STABILITY | STREAMS | PATTERNS | {"adjust"},
    "cka": {"residual_similarity"},
    "residual": {"residual_similarity"},
    "norms": {"norms"},
    "weight_norms": {"cache"},
    "meta_sne": MAP,
    "tables/streams": STREAM_TABLES,
    "tables/meta_sne": MAP,
    "plots/streams": STREAM_FIGURES,
    "plots/meta_sne": {"draw_meta_sne"},
    "nll": {"ablation", "evaluate", *IMPORT},
    "losses": TRAINING,
    "attention": MODELS | EXPORTS | IMPORT | VERIFY,
    "batches": TRAINING,
    "engine": TRAINING,
    "recipe": TRAINING,
    "memory": {"train", "cache", "ablation", "evaluate"},
    "precision": {"train", "ablation", "evaluate", "cache", "import_weights", "role_scores"},
    "perplexity": {"evaluate"},
    "texts": {"evaluate"},
    "prompt_length": {"prefixes"},
    "atlas": {"head_atlas_table"},
    "tables/perplexity": {"perplexity_table"},
    "tables/prompt_length": {"prompt_length_table"},
    "plots/perplexity": {"perplexity"},
    "plots/prompt_length": {"prompt_length"},
    "plots/atlas": {"draw_head_atlas"},
    "adjusted": {*ROLES, "adjust", "adjusted_table"},
    "roles": ROLES,
    "role_prompts": {"role_scores"},
    "cell_roles": {"role_scores"},
    "uncertainty": {*QUESTION_TABLES, "role_stability", "adjusted_table", *CLAIMED},
    "variance": {*QUESTION_TABLES, "role_stability"},
    "tables/intervals": {*QUESTION_TABLES, "role_stability"},
    "tables/questions": QUESTION_TABLES - {"time_course_table"},
    "tables/time_course": {"time_course_table"},
    "tables/roles": {"role_stability"},
    "plots/questions": QUESTIONS,
    "plots/roles": {"roles"},
    "datasets": {"corpus"},
    "growing": {"corpus", "tokens"},
    "tokenising": {"tokens"},
    "sources/data_files": {"corpus"},
    "traced": ANALYSED,
    "loading": ANALYSED,
    "sources/adapters": ANALYSED,
    "sources/matrices": {"cache"},
    "sources/huggingface": ANALYSED,
    "sources/tensors": ANALYSED | FETCHED | EXPORTS | {"tokenizer", "corpus"},
    "sources/transformerlens": EXPORTS | IMPORT,
    "sources/own": EXPORTS | IMPORT,
    "sources/web": {"prompts"},
    "sources/folders": ANALYSED | FETCHED | {"tokenizer", "corpus"},
    "tables/published": {"published"},
    "sources/importing": IMPORT,
    "sources/origins": IMPORT,
    "sources/download": {"download_weights", "tokenizer", "corpus"},
    "source_places": set(),
    "estimate": set(),
    "estimated_sizes": set(),
    "source_rules": set(),
    "exports/writing": EXPORTS,
    "exports/modeling_headstability": EXPORTS,
    # The config reaches jobs only through their specifications.
    "claims": CLAIMED,
    "head_cka": {"adjust", "adjusted_table"},
    "measures": {"adjust", "adjusted_table"},
    "verdicts": CLAIMED,
    "adjusted_conditions": {"adjust"},
    "claims_report": {"claims_table"},
    "tables/adjusted": {"adjusted_table"},
    "tables/claims": {"claims_table"},
    "tables/claim_conditions": {"claims_table"},
    "tables/replicates": {"adjusted_table", "claims_table"},
    "plots/adjusted": {"adjusted"},
    "plots/claims": {"claims"},
    **{key: set() for key in ("schema", "schema_base", "schema_data", "config_check")},
    **{key: set() for key in ("config_rules", "config_words", "config_reference")},
    **{key: set() for key in ("config_file", "size_rules", "user_files", "reporting", "record")},
    **{key: set() for key in ("access", "lazy", "study_files", "follow", "snapshot")},
    **{key: set() for key in ("status", "status_text", "status_times", "workflow_picture")},
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
    # How and where jobs run.
    "costs": set(),
    "condition_costs": set(),
    "handover": set(),
    "needs": set(),
    "slurm": set(),
    "node": set(),
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


@pytest.fixture(scope="module")
def before(copied):
    """Hashes of the unedited copy, which every test puts back."""
    return all_hashes(copied)


def test_every_script_is_covered(copied):
    assert set(all_hashes(copied)) == ALL
    assert all_hashes(copied) == all_hashes(SCRIPTS)
    library = SCRIPTS / "headstability"
    modules = {path.relative_to(library).with_suffix("") for path in library.rglob("*.py")}
    assert set(EDITS) == {str(path) for path in modules if path.name != "__init__"}


@pytest.mark.parametrize("module", EDITS)
def test_an_edit_reruns_exactly_the_scripts_that_use_it(copied, before, module):
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
