"""Write the pages under docs/ that are made from the code: `make docs`."""

from pathlib import Path

from headstability.config_reference import config_reference
from headstability.files import atomic_path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main() -> None:
    """Write each of them."""
    with atomic_path(DOCS / "config-reference.md") as path:
        path.write_text(config_reference(), encoding="utf-8")


main()
