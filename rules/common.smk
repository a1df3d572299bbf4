# The study of this run, and the functions rules share.
import gc
import inspect
import os
import sys
from pathlib import Path

from snakemake.logging import logger

SCRIPTS = Path(workflow.basedir, "scripts")
sys.path.insert(0, str(SCRIPTS))

from headstability.errors import UserError
from headstability.registry.row import STUDY
from headstability.registry.rows import ROWS, TABLES
from headstability.storage.files import write_json
from headstability.storage.locks import begin_run, forget_finished, mark_running
from headstability.study.config_file import read_config
from headstability.study.derived import value_of
from headstability.study.paths import fill
from headstability.study.saved_config import record_config, torch_note
from headstability.study.study import Study
from headstability.workflow.graph import Graph, Uses, WorkflowRule
from headstability.workflow.parameters import COMPLETE, Parameters
from headstability.workflow.report import place
from headstability.workflow.run_file import PLAN, hand_over, handed_over, share_library
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
    if PLAN in os.environ:  # who asks for the plan gets the message instead
        write_json(os.environ[PLAN], {"error": str(error)})
    sys.exit(f"\nError: {error}\n")


def or_stop(function, *arguments, **named):
    """What a function returns; what is wrong ends the run with one message."""
    try:
        return function(*arguments, **named)
    except UserError as error:
        stop(error)


# A config that cannot be read, or has mistakes Snakemake would not notice, ends the run. A job on
# another node takes the config of its run, whatever became of the file.
if not workflow.remote_exec:
    for file in workflow.overwrite_configfiles or ["config.yaml"]:
        or_stop(read_config, os.path.relpath(file))

# A study file given with --configfile is complete in itself: config.yaml is not merged into it.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


def handed():
    """Config and code hashes: on another node, those of the run that submitted the job."""
    run = or_stop(handed_over) if workflow.remote_exec else None
    return (run[0], run[1].code) if run else (config, None)


def load_study(config):
    """The study of a config; a wrong one ends the run before anything happens."""
    loaded = or_stop(Study, config)
    or_stop(loaded.check_files)
    if note := or_stop(torch_note, loaded):
        print(note, file=sys.stderr)
    return loaded


def uses(*keys, **call):
    """A rule's only parameter: what decides whether a finished job still stands.

    Its keys of the config are those of `study.derived`; a generic script is told its call.
    """

    @asked_often
    def parameter(wildcards):
        return parameters.text(parameter.rule, dict(wildcards.items()))

    parameter.uses = Uses(keys, call)
    return parameter


def require(wildcards, figure=None):
    """End the run with one message if a requested file or figure is not part of the study."""
    if figure:
        or_stop(study.require_figure, figure)
    or_stop(study.require, **wildcards)


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


def source_files(wildcards):
    """Inputs of an import: the user's files; none if the weights are on the hub."""
    require(wildcards)
    return study.source_files(wildcards)


def fetched(wildcards):
    """An input of an import: the record of what was fetched from the hub; none of user's files."""
    return [] if source_files(wildcards) else fill(paths.download, **wildcards)


def measurements(wildcards):
    """What the tables of the study rest on, as far as it is small."""
    return [
        path
        for job in graph.jobs(*COMPLETE)
        for path in graph.outputs(job)
        if path.startswith(f"{paths.root}/conditions/") and path.endswith(".csv")
    ]


def explain_unknown_output(wildcards):
    """End the run with what there is instead of an unknown file or target."""
    stop(study.unknown_output(wildcards.unknown))


def only_looks():
    """Whether this run is `snakemake verify` alone, which changes nothing."""
    return set(workflow.dag_settings.targets) == {"verify"}


def begin():
    """Before the first job: record the config beside the results, and say how far the study is."""
    plan = parameters.plan()
    hand_over(config, plan)
    if only_looks():
        return
    # Only here: jobs on other nodes read these rules, too, and need not wait for it.
    from headstability.monitor.follow import follow
    from headstability.monitor.status import Observer

    or_stop(record_config, paths.config, config)
    begin_run(study.name)
    follow(Observer(study, plan), logger.info)


mark_running()
share_library(SCRIPTS)
run_config, run_code = handed()
study = load_study(run_config)
paths = study.paths

# Every checkpoint of a cell. Rules that read one list them all: a step added to the config is an
# output Snakemake has no record of, and of such a job it compares no parameters. Unless somebody
# wanted the new step, a learning rate changed along with it would go unnoticed.
kept_checkpoints = [
    paths.checkpoint.replace("{step}", str(step)) for step in study.checkpoint_steps
]
