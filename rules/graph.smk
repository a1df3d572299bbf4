# What the rules say, for the parameters of jobs and for whoever looks from outside.
import atexit

from headstability.workflow.parameters import write_asked


def read_rules():
    """The rules of this workflow as the library knows them."""
    impossible = {
        name
        for row in ROWS
        if row.draw and study.lacks(row.name)
        for name in (row.rule, row.table_rule)
    }
    for declared in workflow.rules:
        parameter = next(
            (item for item in declared.params if hasattr(item, "uses")), None
        )
        if parameter:
            parameter.rule = declared.name
        yield WorkflowRule(
            declared.name,
            inputs=list(declared.input._allitems()),
            outputs=[str(path) for path in declared.output],
            output_names=dict(declared.output._get_names()),
            script=parameter and os.path.relpath(declared.script, "../scripts"),
            uses=parameter and parameter.uses,
            log=str(declared.log[0]) if declared.log else "",
            benchmark=declared.benchmark and str(declared.benchmark),
            message=declared.message or "",
            temporary=any("temp" in path.flags for path in declared.output),
            possible=declared.name not in impossible,
            resources=stated_resources(declared),
        )


def stated_resources(declared):
    """Threads (_cores) and resources of a rule, as far as it states numbers."""
    stated = {
        name: getattr(item, "raw", item) for name, item in declared.resources.items()
    }
    return {name: value for name, value in stated.items() if isinstance(value, int)}


graph = Graph(read_rules())
# Hashed now: Snakemake asks for some parameters only when a job starts, and would then see code
# that was edited in the meantime.
parameters = Parameters(study, graph, SCRIPTS, run_code)

# Who looks from outside asks for the plan in this way, or for one job.
if PLAN in os.environ and not workflow.remote_exec:
    atexit.register(write_asked, parameters)
