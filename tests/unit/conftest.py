"""Workers share the machine's cores: the tests of each compute on one, as jobs do."""

import os

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

# Libraries read these when they are loaded, which is after this file.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in THREADS:
        os.environ.setdefault(name, "1")
