"""The code hashes of a script: what changes them and what does not."""

import pytest

from headstability.workflow.fingerprints import code_hashes

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

import math

from . import deep
from .errors_of_mine import Problem

SHIFT, UNUSED = 1, 2


class Worker:
    """Works."""

    def work(self, x):
        # a comment
        return deep.double(x) + SHIFT


def work(x):
    return Worker().work(x)


def other(x):
    return deep.half(x)
''',
    "package/deep.py": "def double(x):\n    return 2 * x\n\n\ndef half(x):\n    return x / 2\n",
    "package/late.py": "VALUE = 3\nOTHER = 4\n",
    "package/errors_of_mine.py": "class Problem(Exception):\n    pass\n",
    "package/unrelated.py": "def run():\n    pass\n",
    "package/shelf.py": "KNOWN = []\n\n\ndef keep(one):\n    KNOWN.append(one)\n    return one\n",
}


@pytest.fixture
def hashes(tmp_path):
    """A function: the hashes of the script with some of the files edited."""
    count = 0

    def hashed(*functions, **edits):
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
        return code_hashes(root / "script.py", functions)

    return hashed


HELPER, DEEP, INIT = "package__helper", "package__deep", "package____init__"
UNRELATED, SHELF = "package__unrelated", "package__shelf"


@pytest.mark.parametrize(
    "edits",
    [
        {},
        {HELPER: {"# a comment": "# another comment, and a longer one"}},
        {HELPER: {'"""Help."""': '"""Help in other words."""'}},
        {HELPER: {'"""Help."""\n': ""}},
        {HELPER: {'    """Works."""\n\n': ""}},
        {HELPER: {"def work(x):\n": 'def work(x):\n    """Described at last."""\n'}},
        {HELPER: {"deep.double(x) + SHIFT": "(deep.double( x )\n            + SHIFT)"}},
        {HELPER: {"class Worker": "\n\n\n\nclass Worker"}},
        {"script": {'"""A script."""': "'''A script.'''"}},
        {"script": {"    return": "    # say why\n    return"}},
        {INIT: {"": '"""The package."""\n'}},
        {INIT: {"": "# nothing here\n"}},
        {UNRELATED: {"pass": "return 3"}},
        {"loose": {"1": "2"}},
        {"job": {"": "import loose\n"}},
        # What nobody uses of a module that is used.
        {HELPER: {"import math": "import cmath"}},
        {HELPER: {"deep.half(x)": "deep.half(2 * x)"}},
        {HELPER: {"def other(x):": "def another(x):"}},
        {HELPER: {"from .errors_of_mine import Problem\n": ""}},
        {HELPER: {"from . import deep": "from . import deep, unrelated"}},
        {DEEP: {"x / 2": "x / 3"}},
        {"package__late": {"4": "5"}},
        {"package__errors_of_mine": {"Exception": "ValueError"}},
    ],
)
def test_what_does_not_change_the_hash(hashes, edits):
    assert hashes(**edits) == hashes()


@pytest.mark.parametrize(
    "edits",
    [
        {"script": {"work(late.VALUE)": "work(late.VALUE + 0)"}},
        {"script": {"import json": "import math"}},
        {"script": {"import json": "import loose"}},
        {HELPER: {"+ SHIFT": "- SHIFT"}},
        {HELPER: {"+ SHIFT": "+ 1"}},
        {HELPER: {"SHIFT, UNUSED = 1, 2": "SHIFT, UNUSED = 1.0, 2"}},
        {HELPER: {"(self, x)": "(self, x, y=None)"}},
        {HELPER: {"        # a comment\n": '        "not a docstring", x\n'}},
        {DEEP: {"2 * x": "3 * x"}},
        {"package__late": {"3": "'3'"}},
        # Statements that run in any case.
        {HELPER: {"class Worker": "SHIFT += 1\n\n\nclass Worker"}},
        {DEEP: {"": "print(1)\n"}},
        {DEEP: {"": "if True:\n    double = None\n"}},
        {INIT: {"": "FLAG = True\n"}},
    ],
)
def test_what_changes_the_hash(hashes, edits):
    assert hashes(**edits) != hashes()


@pytest.mark.parametrize(
    "way",
    [
        {"script": {"import json": "import package.unrelated"}},
        {"script": {"import json": "import package.unrelated as u", "VALUE)": "VALUE), u.run"}},
        {"script": {"import json": "from package import unrelated", "VALUE)": "VALUE), unrelated"}},
        {
            "script": {
                "import json": "from package.unrelated import run as go",
                "late.VALUE)": "go)",
            }
        },
        {"script": {"import json": "import package as p", "VALUE)": "VALUE), p.unrelated.run"}},
        {
            HELPER: {
                "from . import deep": "from . import deep, unrelated as u",
                "+ S": "+ u.run() + S",
            }
        },
        {HELPER: {"from . import deep": "from . import deep\nfrom .unrelated import *"}},
        {DEEP: {"    return": "    from .unrelated import run\n    return run(),"}},
        {DEEP: {"": "from .unrelated import run\n\nTRIED = 1\n", "2 * x": "2 * run(x)"}},
        {DEEP: {"": "try:\n    from .unrelated import run\nexcept ImportError:\n    run = 1\n"}},
        {INIT: {"": "from .unrelated import run\n"}},
        {INIT: {"": "from package.unrelated import *\n"}},
        {INIT: {"": "from .late import *\nfrom .unrelated import *\n"}},
        # Taken from another module than the one that defines it.
        {"package__late": {"VALUE = 3": "from .unrelated import run as VALUE"}},
        # A name that two functions import from different modules, or that is also one of its own.
        {
            DEEP: {
                "    return 2": "    from .unrelated import run\n    return run() + 2",
                "    return x /": "    from .late import VALUE as run\n    return run + x /",
            }
        },
        {
            DEEP: {
                "": "run = 1\n",
                "    return 2": "    from .unrelated import run\n    return run()",
            }
        },
    ],
)
def test_a_name_that_is_imported_in_any_way_counts(hashes, way):
    edited = {**way, UNRELATED: {"pass": "return 3"}}
    assert hashes(**edited) != hashes(**way)


def test_what_a_decorator_of_the_library_keeps_counts(hashes):
    """Nobody names the function, but the decorator may hand it to somebody."""
    kept = "@keep\ndef kept():\n    return 1\n"
    edit = {"return 1": "return 2"}

    def with_kept(before, edited):
        text = kept.replace(*next(iter(edit.items()))) if edited else kept
        return hashes(**{DEEP: {"": f"{before}\n{text}"}})

    for before in ("from .shelf import keep\n", "def keep(one):\n    return one\n\n"):
        assert with_kept(before, edited=False) != with_kept(before, edited=True), before
    elsewhere = "from functools import cache as keep\n"
    assert with_kept(elsewhere, edited=False) == with_kept(elsewhere, edited=True)


def test_functions_called_by_name_count_with_what_they_use(hashes):
    named = "package.helper:other"
    assert set(hashes(named)) == set(hashes())
    for edit in ({HELPER: {"deep.half(x)": "deep.half(2 * x)"}}, {DEEP: {"x / 2": "x / 3"}}):
        assert hashes(named, **edit) != hashes(named)
    assert hashes("package.unrelated:run")["package.unrelated"]
    assert "package.unrelated" not in hashes()


def test_two_functions_of_one_module_are_told_apart(hashes):
    first, second = "package.unrelated:run", "package.shelf:keep"
    edit = {SHELF: {"return one": "return [one]"}}
    assert hashes(first, **edit) == hashes(first)
    assert hashes(second, **edit) != hashes(second)
    # The list it appends to counts, too.
    assert hashes(second, **{SHELF: {"[]": "[0]"}}) != hashes(second)


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
    """So that an edit can be named; modules without effect, or that nobody uses, have none."""
    first = hashes()
    assert set(first) == {"script", "package", "package.helper", "package.deep", "package.late"}
    second = hashes(package__deep={"2 * x": "3 * x"})
    assert {name for name in first if first[name] != second[name]} == {"package.deep"}
