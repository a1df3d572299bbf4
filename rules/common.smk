# The study of this run, and the functions rules share.
import gc
import inspect
import os
import sys
from pathlib import Path

from snakemake.logging import logger

SCRIPTS = Path(workflow.basedir, "scripts")
sys.path.insert(0, str(SCRIPTS))

from headstability.catalogue import FIGURES
from headstability.config_file import read_config
from headstability.errors import UserError
from headstability.handover import handed_over
from headstability.jobs import Parameters, measurement_paths
from headstability.liveness import begin_run, forget_finished, mark_running
from headstability.paths import fill
from headstability.record import record_config
from headstability.reporting import place
from headstability.study import Study
from headstability.versions import torch_note
from snakemake.common import overwrite_function_params

# Planning makes millions of objects that stay. Looking through them for garbage again and again took
# an eighth of the time.
gc.set_threshold(1_000_000, 50, 1000)


def asked_often(function):
    """Keep the parameters of a function, which Snakemake reads anew for every job."""
    overwrite_function_params(function, inspect.signature(function).parameters)
    return function


def stop(error):
    """End the run with one message. An exception would be shown with a traceback."""
    sys.exit(f"\nError: {error}\n")


def check_config_files(files):
    """End the run if a config cannot be read, or says what Snakemake would not notice."""
    try:
        for file in files:
            read_config(os.path.relpath(file))
    except UserError as error:
        stop(error)


# A job on another node takes the config of its run, whatever became of the file.
if not workflow.remote_exec:
    check_config_files(workflow.overwrite_configfiles or ["config.yaml"])

# A study file given with --configfile is complete in itself: config.yaml is not merged into it.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


def handed():
    """Config and code hashes: on another node, those of the run that submitted the job."""
    try:
        run = handed_over() if workflow.remote_exec else None
    except UserError as error:
        stop(error)
    return run or (config, None)


def load_study(config):
    """The study of a config; a wrong one ends the run before anything happens."""
    try:
        loaded = Study(config)
        loaded.check_files()
        if note := torch_note(loaded):
            print(note, file=sys.stderr)
    except UserError as error:
        stop(error)
    return loaded


def spec(rule):
    """A rule's only parameter: what decides whether a finished job still stands."""

    @asked_often
    def parameter(wildcards):
        return parameters.text(rule, dict(wildcards.items()))

    return parameter


def require(wildcards):
    """End the run with one message if a requested file is not part of the study."""
    try:
        study.require(**wildcards)
    except UserError as error:
        stop(error)


def configured(pattern, **fixed):
    """An input: a pattern filled with the wildcards, once these are known to be configured."""

    @asked_often
    def file(wildcards):
        require(wildcards)
        return fill(pattern, **{**wildcards, **fixed})

    return file


def of_refits(*patterns, **fixed):
    """An input: patterns filled for every refit of the wildcards' condition.

    Of wildcards that name no architecture, for every architecture too.
    """

    @asked_often
    def files(wildcards):
        require(wildcards)
        return [
            path for p in patterns for path in study.every(p, **{**wildcards, **fixed})
        ]

    return files


def source_inputs(wildcards):
    """Inputs of an import: the user's files, or the record of what was fetched from the hub."""
    require(wildcards)
    files = study.source_files(wildcards)
    return (
        {"files": files} if files else {"download": fill(paths.download, **wildcards)}
    )


def figure_files(name):
    """The outputs of a figure: a PDF, and a PNG with its caption and place in the report."""
    pdf, png = paths.figure_files(FIGURES[name]).values()
    return {"pdf": pdf, "png": report(png, caption=caption(name), **place(name))}


def table_file(name):
    """A table with its caption and place in the report, as an output."""
    file = paths.table_of(FIGURES.get(name, name))
    return report(file, caption=caption(f"tables/{name}"), **place(name, " (table)"))


def caption(name):
    """What stands beside a result in the report."""
    return str(SCRIPTS.parent / "docs/captions" / f"{name}.rst")


def for_figure(figure, pattern, **fixed):
    """An input: a pattern filled for the whole study, once the figure is known to be possible."""

    def files(wildcards):
        try:
            study.require_figure(figure)
        except UserError as error:
            stop(error)
        return study.every(pattern, **{**study.measured, **fixed})

    return files


def explain_unknown_output(wildcards):
    """End the run with what there is instead of an unknown file or target."""
    stop(study.unknown_output(wildcards.unknown))


def begin():
    """Before the first job: record the config beside the results, and say how far the study is."""
    if "verify" in sys.argv:  # which changes nothing
        return
    # Only here: jobs on other nodes read these rules, too, and need not wait for it.
    from headstability.follow import follow
    from headstability.status import Observer

    try:
        record_config(paths.config, config)
    except UserError as error:
        stop(error)
    begin_run(study.name)
    follow(Observer(study, parameters), logger.info)


mark_running()
run_config, run_code = handed()
study = load_study(run_config)
paths = study.paths
# Hashed now: Snakemake asks for some parameters only when a job starts, and would then see code
# that was edited in the meantime.
parameters = Parameters(study, SCRIPTS, run_code)

# Every checkpoint of a cell. Rules that read one list them all: a step added to the config is an
# output Snakemake has no record of, and of such a job it compares no parameters. Unless somebody
# wanted the new step, a learning rate changed along with it would go unnoticed.
kept_checkpoints = [
    paths.checkpoint.replace("{step}", str(step)) for step in study.checkpoint_steps
]
