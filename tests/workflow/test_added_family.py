"""docs/add-a-family.md, followed to the letter in a copy of the repository."""

import pytest
from driver import copy_repository
from pages import commands, follow, make_docs, page, run_unit_tests

PAGE = page("add-a-family.md")


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    folder = copy_repository(tmp_path_factory.mktemp("family") / "repository")
    follow(PAGE, folder)
    assert commands(PAGE) == ["make docs"]
    make_docs(folder)
    return folder


def test_its_models_are_imported_and_agree_with_the_library(followed):
    """Patterns, z, streams, ablations, biases and matrices; through files and checkpoints."""
    about = ("tests/unit/test_adapters.py", "tests/unit/test_huggingface.py")
    assert run_unit_tests(followed, *about, "tests/unit/test_importing.py", "-k", "phi") >= 13


def test_it_is_on_the_page_of_models(followed):
    assert "| `phi` | Phi |\n" in (followed / "docs/models.md").read_text()
    assert run_unit_tests(followed, "tests/unit/test_config_reference.py")
