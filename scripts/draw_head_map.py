"""Figure: head_map of one condition."""

from headstability.files import read_csv
from headstability.plots.heads import head_map
from headstability.plots.style import save_figure, set_style
from job import Job, run


def main(job: Job) -> None:
    """Draw the table beside the figure."""
    set_style()
    title = f"{job.wildcards.architecture}, weight decay {job.wildcards.weight_decay}"
    table = read_csv(job.input.table)
    title += f", anchor {table['anchor'].iloc[0]}"
    figure = head_map(table, title, job.spec)
    save_figure(figure, dict(job.output.items()), job.spec["dpi"])


run(snakemake, main)
