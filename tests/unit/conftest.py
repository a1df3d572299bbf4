"""What holds for all unit tests: cores are shared, and examples are the same in every run."""

import os

from hypothesis import settings

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# Workers share the cores: each computes on one, as jobs do. Libraries read these when they are
# loaded, which is after this file.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in THREADS:
        os.environ.setdefault(name, "1")

# A run says whether a change broke something; an example nobody has tried yet is no part of it.
# `pytest --hypothesis-profile=default` draws others.
settings.register_profile("same", derandomize=True, database=None)
settings.load_profile("same")
