"""Fetch the weights of one cell from the hub into its cache."""

from headstability.hub.download import Hub, fetch_place
from headstability.storage.files import write_json
from job import Job, run


def main(job: Job) -> None:
    """Write which files of which commit the cell's weights are, with their hashes."""
    steps, pinned = {}, job.section(f"architectures.{job.wildcards.architecture}.source")["sha256"]
    for step, place in job.spec["places"].items():
        hub = Hub(place["repo"], place["revision"])
        steps[step] = fetch_place(hub, place["type"], place["path"], pinned)
    write_json(job.output.download, {"steps": steps})


run(snakemake, main)
