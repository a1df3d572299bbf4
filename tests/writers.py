"""Processes that write files, for the tests of what they leave."""

import os
import subprocess
import sys
from pathlib import Path

from headstability.storage import files

SCRIPTS = Path(files.__file__).resolve().parents[2]


def start(program, *arguments, **options):
    """Run Python code that may use headstability.storage.files in a process of its own."""
    prelude = "import os, sys, time\nfrom headstability.storage import files\n"
    return subprocess.Popen(
        [sys.executable, "-c", prelude + program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def names(folder):
    return sorted(item.name for item in folder.iterdir())
