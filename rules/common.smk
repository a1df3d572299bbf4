# The study of this run, and the functions rules share.
import json
import sys
from inspect import signature
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir, "scripts")))

from headstability.codehash import code_hash
from headstability.errors import UserError
from headstability.liveness import mark_running
from headstability.paths import fill
from headstability.study import FIGURES, Study


def stop(error):
    """End the run with one message. An exception would be shown with a traceback."""
    sys.exit(f"\nError: {error}\n")


def load_study(config):
    """The study of a config; a wrong one ends the run before anything happens."""
    try:
        loaded = Study(config)
        loaded.check_files()
    except UserError as error:
        stop(error)
    return loaded


def spec(script, make=lambda: {}):
    """A rule's parameter: one canonical string of its code's hash and the config it uses.

    Snakemake compares parameters as a set of texts, so one string is the way to see every
    change and nothing else. `make` gets the wildcards it names.
    """

    def parameter(wildcards):
        code = code_hash(Path(workflow.basedir, "scripts", script))
        chosen = make(**{name: wildcards[name] for name in signature(make).parameters})
        return json.dumps(
            {"script": script, "code": code, "spec": chosen}, sort_keys=True
        )

    return parameter


def require(wildcards):
    """End the run with one message if a requested file is not part of the study."""
    try:
        study.require(**wildcards)
    except UserError as error:
        stop(error)


def configured(pattern, **fixed):
    """An input: a pattern filled with the wildcards, once these are known to be configured."""

    def file(wildcards):
        require(wildcards)
        return fill(pattern, **{**wildcards, **fixed})

    return file


def of_refits(pattern, **fixed):
    """An input: a pattern filled for every refit of the wildcards' condition."""

    def files(wildcards):
        require(wildcards)
        return study.per_refit(pattern, **{**wildcards, **fixed})

    return files


def explain_unknown_output(wildcards):
    """End the run with what there is instead of an unknown file or target."""
    stop(study.unknown_output(wildcards.unknown))


mark_running()
study = load_study(config)
paths = study.paths
