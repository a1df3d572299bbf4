"""What holds for all unit tests: cores are shared, and examples are the same in every run."""

import os

import threadpoolctl
import torch
from hypothesis import settings

# Workers share the cores: each computes on one, as jobs do. What tests start is told nothing.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
    threadpoolctl.threadpool_limits(1)

# A run says whether a change broke something; an example nobody has tried yet is no part of it.
# `pytest --hypothesis-profile=default` draws others.
settings.register_profile("same", derandomize=True, database=None)
settings.load_profile("same")
