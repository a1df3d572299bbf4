"""The statistics cite sections that exist, each with the name of the module."""

import ast
import re

import pytest
from test_quality import LIBRARY, ROOT

PAGE = (ROOT / "docs" / "statistics.md").read_text()
DOCSTRINGS = {
    path.stem: ast.get_docstring(ast.parse(path.read_text()))
    for path in sorted((LIBRARY / "measures").glob("*.py"))
}
CITING = [name for name, text in DOCSTRINGS.items() if text and "docs/statistics.md" in text]


@pytest.mark.parametrize("name", CITING)
def test_cited_sections_exist_and_name_their_module(name):
    cited = re.findall(r'"([^"]+)"', DOCSTRINGS[name])
    assert cited
    for heading in cited:
        section = re.search(rf"^## {re.escape(heading)}\n\n\(`(\w+)\.py`\)", PAGE, re.MULTILINE)
        assert section, heading
        assert section[1] == name


def test_every_module_on_the_page_cites_it():
    assert set(re.findall(r"^\(`(\w+)\.py`\)", PAGE, re.MULTILINE)) == set(CITING)
