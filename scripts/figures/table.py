"""Compute the tables of one row of the registry."""

from typing import Any

import pandas as pd

from headstability.storage.files import read_csv, write_csv, write_text
from headstability.tables.reading import read_labelled
from job import Job, run


def read(job: Job, name: str, how: dict[str, Any]) -> Any:
    """One input as the function of the table takes it (`registry.row.Input`)."""
    found = job.input.get(name)
    paths = [found] if isinstance(found, str) else list(found or [])
    if how["labels"] is None:
        return paths
    if how["labels"]:
        return read_labelled(paths, how["pattern"], how["labels"])
    return read_csv(paths[0]) if how["hashed"] else pd.read_csv(paths[0])


def main(job: Job) -> None:
    """Call the function of the row and write what it returns."""
    inputs = {name: read(job, name, how) for name, how in job.call["inputs"].items()}
    found = job.function(**inputs, **job.arguments("uses"))
    for name, content in (found if isinstance(found, dict) else {"table": found}).items():
        path = job.output.get(name) or job.output[0]
        (write_text if isinstance(content, str) else write_csv)(path, content)


run(snakemake, main)
