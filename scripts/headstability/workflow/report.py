"""Where figures and tables stand in the report of a study (`snakemake --report`)."""

from typing import Any

from ..registry.row import Row
from ..registry.rows import ROWS

# Within a section, what there is once a condition has a group of its own, after this one.
ALL_CONDITIONS = "All conditions"


def place(row: Row, name: str, kind: str = "") -> dict[str, Any]:
    """Section, group and label of a row's figure or table, as Snakemake's `report` takes them."""
    title, group = row.titles.get(name, row.title), None
    label = f"{title}: {row.of}" if row.per else title
    if row.per:
        group = title
    elif any(other.per for other in ROWS if other.section == row.section):
        group = ALL_CONDITIONS
    # Of two labels the report would turn the second into a switch wherever it has two values.
    return {"category": row.section, "subcategory": group, "labels": {"result": label + kind}}
