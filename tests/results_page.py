"""What docs/results.md says of the files of a study."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1].joinpath("docs/results.md").read_text()
FOLDERS = {
    "Cells": "cells/<architecture>/wd<weight_decay>/<refit>/",
    "Conditions": "conditions/<architecture>/wd<weight_decay>/",
    "Twins": "conditions/<architecture>/twins/",
    "Tables": "tables/",
}


def section(name):
    return re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]


def listed():
    """Files by their pattern, with what the page says of each."""
    found = {}
    for name in ("Corpus", "Cells", "Conditions", "Twins", "Tables", "Everything else"):
        for files, text in re.findall(r"^\| (`[^|]*?) \| (.*) \|$", section(name), re.MULTILINE):
            for file in re.findall(r"`([^`]+\.[^`]+)`", files):
                found[FOLDERS.get(name, "") + file] = text
    return found


def said_of(path):
    """What the page says of a file, by its path below the study's folder; None: nothing."""
    for pattern, text in listed().items():
        parts = re.split(r"<(\w+)>", pattern)
        named = dict.fromkeys(parts[1::2], "[^/]+") | {"job": ".+", "figure": ".+"}
        whole = "".join(named[p] if i % 2 else re.escape(p) for i, p in enumerate(parts))
        # What stands beside others is listed by its name alone.
        if re.fullmatch(whole, Path(path).name if "<file>" in pattern else path):
            return text
    return None


def quoted(text):
    return re.findall(r"`([^`]+)`", text)


def variables(name):
    """The variables of an archive and their dimensions, from the table of a section."""
    rows = re.findall(r"^\| (`[^|]+`) \| ([a-z_, ]+) \| ", section(name), re.MULTILINE)
    return {variable: dims.split(", ") for names, dims in rows for variable in quoted(names)}
