"""Make one prompt set."""

from headstability.storage.files import write_json
from headstability.text.prompts import make_prompts
from headstability.text.token_files import open_tokens
from headstability.text.tokenizers import load_own_tokenizer
from job import Job, run


def main(job: Job) -> None:
    """Write the prompts: the same for every cell of the study."""
    tokens = open_tokens(job.input.manifest, job.input.held_out, "held_out")
    tokenizer = load_own_tokenizer(job.input.tokenizer, job.spec["bos"])
    name = job.wildcards.prompts
    chosen = {**job.section(f"prompts.{name}"), "name": name}
    chosen |= {"context": job.spec["prompts_context"]}
    write_json(job.output.prompts, make_prompts(chosen, tokens, tokenizer))


run(snakemake, main)
