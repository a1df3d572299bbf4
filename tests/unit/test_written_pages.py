"""What `make docs` writes into pages is current (the diagram of rules: tests/workflow)."""

import re

import pytest
import write_docs

from headstability.registry.rows import FIGURES, TABLES


@pytest.mark.parametrize("name", write_docs.PAGES)
def test_parts_of_pages_are_current(name):
    page = (write_docs.ROOT / name).read_text()
    assert write_docs.renewed(page) == page, "the page is out of date: make docs"
    assert len(write_docs.PART.findall(page)) == page.count(": make docs -->") == 1


def test_the_list_of_figures_says_what_each_is():
    lines = write_docs.figures().splitlines()[2:]
    assert [re.search(r"\| `(\w+)`", line)[1] for line in lines] == list(FIGURES)
    assert (
        "| `figures/head_map/<architecture>/wd<weight_decay>.{pdf,png}` | `head_map` (all) "
        "| `tables/head_map/<architecture>/wd<weight_decay>.csv` | 4 s each |"
    ) in lines
    assert (
        "| `figures/origin.{pdf,png}`, with crossed seeds | `origin` | `tables/origin.csv` | 4 s |"
    ) in lines
    assert (
        "| `figures/claims.{pdf,png}` | `claims` | `tables/claims.csv`, `claims.md` | 4 s |"
    ) in lines


def test_the_list_of_tables_has_every_table_with_its_columns():
    lines = write_docs.tables().splitlines()[2:]
    assert len(lines) == len(TABLES)
    assert "| `pairwise/<architecture>/wd<weight_decay>.csv` | `refit_a`, `refit_b`" in str(lines)
    assert any(line.startswith("| `published.csv` | on request: `architecture`") for line in lines)


def test_a_part_is_replaced_and_the_rest_of_a_page_stays():
    page = "before\n<!-- tables: make docs -->\nold\nrows\n<!-- end -->\nafter\n"
    written = f"before\n<!-- tables: make docs -->\n{write_docs.tables()}<!-- end -->\nafter\n"
    assert write_docs.renewed(page) == written
