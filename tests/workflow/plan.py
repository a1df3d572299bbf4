"""Edits, and which jobs of a study they set off: those of a few starting points, and all below.

What lies below is Snakemake's own graph, of which graph.txt is the reviewed snapshot.
"""

import os
import re
from contextlib import ExitStack, contextmanager

from driver import SMOKE, dry_run

EVERYTHING = "."  # matches the message of every job
CORPUS = "Reading the corpus and splitting it by document"
ANCHORS, ATLAS = "Table of head map of one anchor", "Table of head atlas"
MAP = "Table of map of all heads"
# Tables of the study as a whole, not of one condition or weight decay.
OVER_ALL = "Table of (?!.*wd )"
# With weight decay 0 gone dead heads are told by another, and the untrained reference has yet to be
# made for that.
WITHOUT_ZERO = (OVER_ALL, ANCHORS, "Caching .* step 0")


def below(plan, *patterns):
    """Sorted messages of the jobs one of the patterns matches from the start, and all below."""
    messages = [job.message for job in plan.jobs]
    for pattern in patterns:
        assert any(re.match(pattern, message) for message in messages), f"no job: {pattern}"
    found = {
        number
        for number, message in enumerate(messages)
        if any(re.match(pattern, message) for pattern in patterns)
    }
    while more := {n for n, job in enumerate(plan.jobs) if found & set(job.above)} - found:
        found |= more
    return sorted(messages[number] for number in found)


def expect(folder, *patterns, study=SMOKE, args=()):
    """Assert that a dry run would do the jobs that patterns match, all below them, no others.

    Returns:
        The messages of these jobs.
    """
    messages, plan = dry_run(folder, *args, *study)
    _alike(messages, below(plan, *patterns))
    return messages


def expect_only(folder, expected, *args, study=SMOKE):
    """Assert that a dry run would do the jobs of these messages, no others."""
    _alike(dry_run(folder, *args, *study)[0], expected)


def _alike(planned, expected):
    surplus, missing = set(planned) - set(expected), set(expected) - set(planned)
    assert not surplus, f"would run for nothing: {sorted(surplus)}"
    assert not missing, f"would not run: {sorted(missing)}"
    assert planned == sorted(expected), "a job is planned twice"


@contextmanager
def rewritten(path, change):
    """Apply `change` to a file's text; afterwards its bytes and times are as before."""
    before, status = path.read_bytes(), path.stat()
    after = change(before.decode())
    assert after.encode() != before, f"the edit of {path.name} changes nothing"
    path.write_text(after)
    try:
        yield path
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def edited(path, old, new):
    """Replace a text of a file, which must be there."""
    assert old in path.read_text(), f"{old!r} is not in {path.name}"
    return rewritten(path, lambda text: text.replace(old, new))


@contextmanager
def removed(*paths):
    """Take files away for a while."""
    with ExitStack() as stack:
        for path in paths:
            aside = path.with_name(f"{path.name}.aside")
            path.rename(aside)
            stack.callback(aside.rename, path)
        yield
