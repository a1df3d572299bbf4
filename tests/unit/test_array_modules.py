"""The statistics take arrays, know nothing of files, and cite sections that exist."""

import ast
import re

import pytest
from test_quality import LIBRARY, ROOT, library_imports, third_party

MODULES = ["adjusted", "claims", "head_cka", "roles", "uncertainty", "variance", "verdicts"]


@pytest.mark.parametrize("name", MODULES)
def test_statistics_are_functions_of_arrays(name):
    assert library_imports(name) <= {*MODULES, "similarity", "statistics"}
    assert third_party([LIBRARY / f"{name}.py"]) <= {"numpy", "scipy"}


@pytest.mark.parametrize("name", MODULES)
def test_cited_sections_exist_and_name_their_module(name):
    page = (ROOT / "docs" / "statistics.md").read_text()
    docstring = ast.get_docstring(ast.parse((LIBRARY / f"{name}.py").read_text()))
    cited = re.findall(r'"([^"]+)"', docstring)
    assert cited
    for heading in cited:
        section = re.search(rf"^## {re.escape(heading)}\n\n\(`(\w+)\.py`\)", page, re.MULTILINE)
        assert section, heading
        assert section[1] == name
