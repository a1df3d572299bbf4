"""Draw one row of the registry."""

from headstability.plots.style import save_figure, set_style
from headstability.storage.files import read_csv
from job import Job, run


def main(job: Job) -> None:
    """Draw the tables beside the figure."""
    set_style()
    drawn = [read_csv(path) for path in job.input]
    if job.wildcards:
        architecture, decay = (job.wildcards.get(n) for n in ("architecture", "weight_decay"))
        drawn.append(f"{f'{architecture}, ' if architecture else ''}weight decay {decay}")
    if look := job.arguments("look"):
        drawn.append(look)
    save_figure(job.function(*drawn), dict(job.output.items()), job.spec["figures.dpi"])


run(snakemake, main)
