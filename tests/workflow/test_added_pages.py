"""All pages on adding something, followed one after another in one copy of the repository.

After them, the unit tests hold in the copy without a further edit. Those that look at the registry,
the rules, the config, the pages and the state of the repository run with every suite; all unit
tests, which take as long as the suite itself, run in the copy on demand (`pytest -m long`).
"""

import subprocess

import pytest
from driver import ROOT, copy_repository
from pages import follow, make_docs, page, python, run_unit_tests

PAGES = sorted(path.name for path in (ROOT / "docs").glob("add-a-*.md"))
ABOUT = "quality pages written_pages results_page reporting packaging contributing config* stud* "
ABOUT += "needs estimate graph* derived*"
TESTS = [
    str(path.relative_to(ROOT))
    for subject in ABOUT.split()
    for path in sorted((ROOT / "tests/unit").glob(f"test_{subject}.py"))
]

WRITE_GRAPH = """
import runpy, sys
sys.path[:0] = ["scripts", "tests/workflow"]
runpy.run_path("tests/workflow/write_graph.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    folder = copy_repository(tmp_path_factory.mktemp("pages") / "repository")
    for name in PAGES:
        follow(page(name), folder)
    make_docs(folder)
    python(folder, "-c", WRITE_GRAPH)
    # Some tests look at what belongs to the repository.
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


def test_the_tests_of_what_pages_add_to_hold(followed):
    assert run_unit_tests(followed, *TESTS) > 100


@pytest.mark.long
def test_the_whole_unit_suite_holds(followed):
    assert run_unit_tests(followed, "tests/unit", "-n", "2", "--dist", "loadfile") > 1000
