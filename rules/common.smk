# The study of this run, and the functions rules share.
import json
import sys
from inspect import signature
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir, "scripts")))

from headstability.codehash import code_hash
from headstability.errors import UserError
from headstability.paths import fill
from headstability.study import FIGURES, Study, results_problem


def load_study(config):
    """The study of a config; a wrong one ends the run with one message."""
    try:
        study = Study(config)
    except UserError as error:
        raise WorkflowError(str(error)) from None
    if problem := results_problem(study):
        raise WorkflowError(f"Results cannot be written: {problem}.")
    if missing := study.missing_inputs():
        raise WorkflowError("Files named in the config do not exist:\n  " + "\n  ".join(missing))
    return study


def spec(script, make=lambda: {}):
    """A rule's parameter: one canonical string of its code's hash and the config it uses.

    Snakemake compares parameters as a set of texts, so one string is the way to see every
    change and nothing else. `make` gets the wildcards it names.
    """

    def parameter(wildcards):
        code = code_hash(Path(workflow.basedir, "scripts", script))
        chosen = make(**{name: wildcards[name] for name in signature(make).parameters})
        return json.dumps({"script": script, "code": code, "spec": chosen}, sort_keys=True)

    return parameter


def require(wildcards):
    """End the run with one message if a requested file is not part of the study."""
    try:
        study.require(**wildcards)
    except UserError as error:
        raise WorkflowError(str(error)) from None


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
    """End the run with what there is instead of an unknown figure or table."""
    raise WorkflowError(str(study.unknown_output(wildcards.kind, wildcards.name)))


study = load_study(config)
paths = study.paths
