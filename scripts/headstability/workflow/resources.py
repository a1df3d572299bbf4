"""Memory and time the jobs of a study ask a cluster for, from what `job_costs` says they take.

Generous on purpose: a job that asks for too little is killed, one that asks for too much only
waits longer. Rates are those of a slow machine.
"""

from collections.abc import Mapping
from typing import NamedTuple

from ..study.study import Study
from .job_costs import JobCosts
from .sizes import Sizes

MEGABYTE = 2**20
# Floating point operations per second: one core; one GPU, in float32.
CORE_RATE, GPU_RATE = 4e9, 2e12
# Seconds of a training step beside its arithmetic.
STEP_SECONDS = 0.02
# Megabytes of a job before it has read anything: two processes of Snakemake beside the one that
# works, with its libraries; and those of CUDA.
BASE_MEMORY, CUDA_MEMORY = 1500, 4000
# Minutes of a job before it does anything, on a slow file system.
BASE_MINUTES = 10
# Bytes per second: of arrays read; written and hashed; of text read, tokenised and written.
READING_RATE, WRITING_RATE, TEXT_RATE = 50e6, 20e6, 2e5
# Bytes of text that keep a thread of `tokens` busy: nodes of a cluster may have few.
TEXT_PER_THREAD, MOST_THREADS = 2**23, 16


class Need(NamedTuple):
    """What a job asks for."""

    memory: int  # megabytes
    minutes: int


class Needs:
    """What the jobs of a study ask for."""

    def __init__(self, study: Study) -> None:
        self.costs = JobCosts(Sizes(study, at_most=True))

    def of(self, rule: str, wildcards: Mapping[str, str], gpu: bool = False) -> Need:
        """What one job of a rule asks for."""
        cost = self.costs.of(rule, wildcards, gpu)
        seconds = (cost.flops + cost.other) / (GPU_RATE if gpu else CORE_RATE)
        seconds += cost.read / READING_RATE + cost.written / WRITING_RATE
        seconds += cost.text / TEXT_RATE + cost.steps * STEP_SECONDS
        memory = BASE_MEMORY + CUDA_MEMORY * gpu + cost.memory / MEGABYTE
        return Need(int(memory) + 1, int(BASE_MINUTES + seconds / 60) + 1)

    def tokenising_threads(self) -> int:
        """Threads worth having for tokenising the corpus."""
        return min(1 + int(self.costs.sizes.text[0] // TEXT_PER_THREAD), MOST_THREADS)
