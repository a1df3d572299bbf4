"""Make one prompt set."""

from headstability.files import write_json
from headstability.prompts import make_prompts
from headstability.tokenization import load_own_tokenizer
from headstability.tokens import open_tokens
from job import Job, run


def main(job: Job) -> None:
    """Write the prompts: the same for every cell of the study."""
    tokens = open_tokens(job.input.manifest, job.input.held_out, "held_out")
    tokenizer = load_own_tokenizer(job.input.tokenizer, job.spec["bos"])
    write_json(job.output.prompts, make_prompts(job.spec, tokens, tokenizer))


run(snakemake, main)
