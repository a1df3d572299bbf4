"""Configs with mistakes, by the hundred: each plans, or is refused with key, value and remedy.

FUZZ_EXAMPLES=20000 draws as many, others every time; without it the same few hundred.
"""

import copy
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from mutations import (
    FILES,
    ROOT,
    SINGLE,
    TRICKS,
    Case,
    at,
    cases,
    configs,
    named,
    places,
    several,
    swapped,
)
from plans import plan_of_config

from headstability.errors import UserError
from headstability.study.config_file import read_config, short
from headstability.study.derived import DERIVED, value_of
from headstability.study.study import Study
from headstability.workflow.job_costs import COSTS
from headstability.workflow.parameters import canonical
from headstability.workflow.resources import Needs

LONG = int(os.environ.get("FUZZ_EXAMPLES", "0"))
FUZZ = settings(
    derandomize=not LONG,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
# What a message may not hold: words of the libraries beneath, and of errors nobody foresaw.
FOREIGN_WORDS = re.compile(
    r"pydantic|Input should|type=|union_tag|tagged-union|Traceback|Error:|object at 0x|<class|"
    r"unexpected error|invalid literal|Value error|Assertion"
)
# What tells the user what to do.
REMEDIES = re.compile(
    r"\b(give|write|add|choose|remove|rename|correct|must|may|one of|known keys|did you mean|"
    r"at most|at least|list|lower|make|set|reserved|belongs to|goes with|there are|needs|name)\b"
)

# Where the value is not what the message is about, or is shown in another form.
TOLD_OTHERWISE = re.compile(
    r"missing|unknown key|lacks|listed twice|the same for every|given|the name |not read this key|"
    r"reads|is not a file|cannot be read"
)


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """A folder in which the files that configs name exist."""
    folder = tmp_path_factory.mktemp("study")
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("some text\n")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def prepare(raw):
    """What planning asks of the library for every job, for one of every architecture.

    A plan by Snakemake itself takes too long for hundreds of configs: some tests make one.
    """
    study = Study(raw)
    study.check_files()
    needs = Needs(study)
    assert study.figure_paths()
    assert study.table_paths()
    patterns = [item for item in vars(study.paths).values() if isinstance(item, str)]
    fixed = {"table": "t", "figure": "f", "job": "j"}
    for architecture in study.architectures:
        wildcards = {name: values[-1] for name, values in study.everything().items()}
        wildcards["architecture"] = architecture
        study.require(**wildcards)
        for pattern in patterns:
            path = pattern.format(**wildcards, **fixed)
            # Beside a file lie its hash and, while it is written, a hidden one with a longer name.
            assert all(part not in ("", ".", "..") and len(part) < 170 for part in path.split("/"))
        imported = architecture in study.architectures_of("import_weights")
        for name in DERIVED:
            if imported or not name.startswith(("places", "source_")):
                assert canonical({name: value_of(study, name, wildcards)})
        for rule in COSTS:
            found = needs.of(rule, wildcards)
            assert found.memory > 0
            assert found.minutes > 0


def lines_of(error):
    """The problems a message lists, as (key, text)."""
    head, *lines = str(error).split("\n")
    assert re.fullmatch(r"the config has \d+ problems?:|this study cannot run:", head), head
    assert lines
    found = []
    for line in lines:
        assert line.startswith("  "), line
        key, text = line[2:].split(": ", 1)
        found.append((key, text))
    return found


def shown_value(raw, key):
    """What a message must show of the value of a key; of a mapping nothing."""
    for path in places(raw):
        if named(path) == key and not isinstance(at(raw, path), dict):
            return short(at(raw, path))
    return None


def check_message(raw, key, text):
    """A problem says what is wrong with which value, and what to do."""
    assert not FOREIGN_WORDS.search(text.replace(repr(key), "")), text
    assert REMEDIES.search(text), text
    assert len(text) < 1200, text
    shown = shown_value(raw, key)
    if shown is not None and not TOLD_OTHERWISE.search(text):
        assert shown in text, (shown, text)


def names_it(case, keys):
    """Whether a message names the key that was touched, one inside it, or the list it is in."""
    for wanted in case.keys:
        listed = re.sub(r"(\[\d+\])+$", "", wanted)
        for key in keys:
            inside = key.startswith((f"{listed}.", f"{listed}["))
            if key in (wanted, listed) or inside:
                return True
    return False


def examine(case, tally):
    """Plan a mutated config, or check its refusal; counts what happened."""
    before = copy.deepcopy(case.raw)
    try:
        prepare(case.raw)
    except UserError as error:
        found = lines_of(error)
        if str(error).startswith("the config"):
            assert len({key for key, _ in found}) == len(found), "a key is reported twice"
        for key, text in found:
            check_message(case.raw, key, text)
        tally["refused"] += 1
        if len(case.keys) and case.kind not in ("several", "swapped"):
            tally["single"] += 1
            tally["named" if names_it(case, [key for key, _ in found]) else case.kind] += 1
    else:
        tally["planned"] += 1
    assert repr(case.raw) == repr(before), "the config was changed"


@pytest.mark.parametrize("name", sorted(configs()))
def test_unmutated_configs_plan(name, folder):
    raw = copy.deepcopy(configs()[name])
    prepare(raw)
    assert len(plan_of_config(raw, folder).expected) > 50


def fuzz(kinds, examples):
    """Examine so many configs with mistakes of these kinds; returns counts."""
    tally = Counter()

    @settings(FUZZ, max_examples=LONG or examples)
    @given(cases(kinds))
    def check(case):
        examine(case, tally)

    check()
    assert tally["planned"] + tally["refused"] >= examples
    return tally


def test_one_mistake_plans_or_is_refused_with_key_value_and_remedy():
    """The key named is the one that is wrong, in 95 of 100; else it is what no longer fits it."""
    tally = fuzz(SINGLE, 500)
    assert min(tally["planned"], tally["refused"]) > 50, tally
    assert tally["named"] >= 0.95 * tally["single"] > 200, tally


def test_many_mistakes_at_once():
    tally = fuzz((swapped, several), 120)
    assert tally["refused"] > 50, tally


def paths_of_files():
    """Every key of OTHER and FOREIGN that names a file or something alike."""
    for name in ("other", "foreign"):
        for path in places(configs()[name]):
            value = at(configs()[name], path)
            if isinstance(value, str) and path[-1] not in ("type", "bos", "activation", "column"):
                yield name, path


@pytest.mark.parametrize(("name", "path"), list(paths_of_files()), ids=str)
def test_tricks_with_paths_and_names(name, path):
    for trick in TRICKS:
        raw = copy.deepcopy(configs()[name])
        at(raw, path[:-1])[path[-1]] = trick
        examine(Case("trick", raw, [named(path)]), Counter())


def test_tricks_are_named():
    """Of what the study reads, writes or fetches, no trick leaves its folder unnoticed."""
    tally = Counter()
    keys = [("study",), ("architectures", "local", "source", "path"), ("corpus", "paths", 0)]
    for path in keys:
        for trick in ("../x", "/etc", "nul\0", "a\nb", "", "x" * 300, "a/" * 3000, ".", ".."):
            raw = copy.deepcopy(configs()["foreign"])
            at(raw, path[:-1])[path[-1]] = trick
            examine(Case("trick", raw, [named(path)]), tally)
    assert tally["named"] == tally["refused"] == len(keys) * 9, tally


# --- the file itself ----------------------------------------------------------------------

SMOKE = (ROOT / "studies" / "smoke.yaml").read_text()
# (what smoke.yaml becomes, what the message holds; None: accepted)
FILE_TEXTS = {
    "a key twice": (SMOKE + "refits: 3\n", ["refits: stands twice, in lines", "keep one"]),
    "twice inside": (SMOKE.replace("  steps: 30", "  steps: 30\n  steps: 40"), ["training.steps"]),
    "anchors": (SMOKE + "roles: &r {prompts: 3}\natlas: {heads: 2}\n", None),
    "merged keys": (SMOKE + "roles: {<<: {prompts: 3}, prompts: 4}\n", None),
    "an alias of itself": (SMOKE + "roles: &r {tokens: *r}\n", ["roles.tokens", "write the value"]),
    "aliases upon aliases": (
        SMOKE
        + "x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 8)}]\n" for i in range(1, 12)),
        ["x6: aliases repeat it", "write less"],
    ),
    "a tab": (SMOKE.replace("  steps", "\tsteps"), ["line 11, column 1", "indent with spaces"]),
    "a date that is none": (SMOKE.replace("study: smoke", "study: 2026-13-45"), ["study:", "quot"]),
    "a date": (SMOKE.replace("study: smoke", "study: 2026-01-01"), ["study:", "in quotes"]),
    "no": (SMOKE.replace("study: smoke", "study: no"), ["study: false", "in quotes"]),
    "on": (SMOKE.replace("  one:", "  on:"), ["architectures.true", "in quotes"]),
    "yes is true": (SMOKE.replace("mlp: false", "mlp: yes"), None),
    "octal": (SMOKE.replace("refits: 2", "refits: 010"), None),
    "no octal": (SMOKE.replace("refits: 2", "refits: 08"), ["refits: '08'", "give a count"]),
    "sixty": (SMOKE.replace("steps: 30", "steps: 1:30"), None),
    "a number too long": (SMOKE.replace("steps: 30", "steps: " + "9" * 5000), ["training.steps"]),
    "a huge number": (SMOKE.replace("steps: 30", "steps: " + "9" * 400), ["training.steps"]),
    "a list for a key": (SMOKE + "? [1, 2]\n: 3\n", ["line 21", "unhashable"]),
    "a number for a key": (SMOKE + "7: 3\n", ["7: unknown key"]),
    "no key for a key": (SMOKE + "? \n: 3\n", ["null: unknown key"]),
    "code": (SMOKE + "x: !!python/object/apply:os.mkdir [made]\n", ["line 21", "constructor"]),
    "a tag that does not fit": (SMOKE + "x: !!int text\n", ["x: 'text'", "whole number"]),
    "two documents": (SMOKE + "---\nstudy: other\n", ["another document"]),
    "cut off": (SMOKE[: SMOKE.index("passages")] + '"pass', ["line 20"]),
    "binary": ("\0\1\2", ["not YAML"]),
    "nothing": ("", ["holds null", "mapping"]),
    "a list": ("- study: x", ["mapping of keys"]),
    "a word": ("study", ["holds 'study'"]),
    "deep": ("x: " + "[" * 40 + "]" * 40, ["nested more than"]),
    "deeper": ("[" * 10**5, ["nested too deeply"]),
    "JSON": ('{"study": "a", "study": "b"}', ["study: stands twice"]),
    "JSON of a study": (json.dumps(yaml.safe_load(SMOKE)), None),
    "half a pair": (SMOKE.replace("study: smoke", 'study: "\\ud800"'), ["study:", "valid Unicode"]),
    "half a pair for a key": (SMOKE + '"\\ud800": 3\n', ["unknown key"]),
}


@pytest.mark.parametrize("name", FILE_TEXTS)
def test_odd_config_files(name, folder, tmp_path):
    text, words = FILE_TEXTS[name]
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    if words is None:
        assert len(plan_of_config(read_config(path), folder).expected) > 50
        return
    with pytest.raises(UserError) as caught:
        prepare(read_config(path))
    assert not [word for word in words if word not in str(caught.value)], str(caught.value)
    assert not FOREIGN_WORDS.search(str(caught.value)), str(caught.value)
    assert path.read_text() == text
    assert [item.name for item in tmp_path.iterdir()] == ["mine.yaml"], "nothing was made"


def test_config_files_that_are_no_text(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(SMOKE.encode() + b"# caf\xe9\n")
    with pytest.raises(UserError, match=r"is not UTF-8 \(byte \d+ is 0xe9\); save it as UTF-8"):
        read_config(tmp_path / "latin.yaml")
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_config(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_config(tmp_path)
