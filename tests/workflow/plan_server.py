"""Answers every line of its standard input, a request for a run of Snakemake, by an exit status.

Only what is installed is loaded beforehand. Every run is a fork of this process, which reads the
repository's Snakefile, rules and modules as a new process would.
"""

import atexit
import json
import os
import signal
import sys

import pandas.plotting  # noqa: F401 (rules' modules load pandas)
import snakemake.cli

SECONDS = 600  # after which a run is taken to hang


def run(request):
    """Be a Snakemake that was started by a request; returns its exit status."""
    signal.alarm(SECONDS)
    output = os.open(request["output"], os.O_WRONLY | os.O_APPEND)
    for stream, handle in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
        os.dup2(handle, stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.path[0] = request["folder"]  # as of `python -m snakemake`
    sys.argv = ["snakemake", *request["args"]]
    try:
        snakemake.cli.main()
    except SystemExit as end:
        return end.code or 0
    finally:
        atexit._run_exitfuncs()  # os._exit skips them, and one writes the plan
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


for line in sys.stdin:
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    status = 1
    try:
        status = run(json.loads(line))
    finally:
        os._exit(status)
