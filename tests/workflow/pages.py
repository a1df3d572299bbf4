"""Pages of docs/ that show how to add something, followed to the letter in a copy."""

import re
import subprocess
import sys

from driver import ROOT, environment

# How a page introduces a block, and the block; one that replaces another has that before it.
BLOCK = r"\n\n```\w+\n(.*?)```"
STEP = (
    r"(New file|To the end of|To `([\w ]+)` in|In)\s+`([^`]+)`"
    rf"(?:,\s+after\s+the\s+line\s+with\s+`([^`]+)`|,\s+instead\s+of:{BLOCK}\n\nwrite)?:{BLOCK}"
)


def page(name):
    return (ROOT / "docs" / name).read_text()


def added(source, name, text):
    """A module with `text` at the end of what a constant, or a key of one, holds in brackets."""
    beginning = re.compile(rf'^( *)(?:{name}\b[^\n]*=|"{name}":) ([({{[])$', re.MULTILINE)
    (begun,) = beginning.finditer(source)
    closing = {"(": ")", "{": "}", "[": "]"}[begun[2]]
    end = source.index(f"\n{begun[1]}{closing}", begun.end()) + 1
    return source[:end] + text + source[end:]


def inserted(source, part, text):
    """A file with `text` after its only line that has `part` in it."""
    assert source.count(part) == 1, part
    end = source.index("\n", source.index(part)) + 1
    return source[:end] + text + source[end:]


def replaced(source, old, new):
    """A module with `new` in place of `old`, which it has once."""
    assert source.count(old) == 1, old
    return source.replace(old, new)


def follow(text, folder):
    """Do what a page says in a copy of the repository, but for its commands."""
    steps = re.findall(STEP, text, re.DOTALL)
    blocks = sum(2 if old else 1 for *_, old, _ in steps)
    assert blocks == len(re.findall(r"^```\w+$", text, re.MULTILINE)), "all blocks but commands"
    for how, name, path, after, old, new in steps:
        file = folder / path
        assert file.exists() == (how != "New file"), path
        source = file.read_text() if file.exists() else ""
        if how == "In":
            source = inserted(source, after, new) if after else replaced(source, old, new)
        elif how.startswith("To `"):
            source = added(source, name, new)
        else:
            source += "\n\n" + new if source else new
        file.write_text(source)


def commands(text):
    """The commands a page shows, in order."""
    return re.findall(r"^```\n(.*)\n```$", text, re.MULTILINE)


def python(folder, *args):
    """Run Python in a copy of the repository; returns its output."""
    done = subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def make_docs(folder):
    """`make docs`, without the environment of its own that make would set up in a copy."""
    python(folder, "scripts/write_docs.py")


def run_unit_tests(folder, *args):
    """Run unit tests in a copy; all of them unless told otherwise. Returns how many passed."""
    output = python(folder, "-m", "pytest", "-q", "-p", "no:randomly", *(args or ("tests/unit",)))
    return int(re.search(r"(\d+) passed", output)[1])
