"""Remove the lock that a killed run left in this folder, unless a run is going on.

`make` calls this before it runs; with plain Snakemake, `snakemake --unlock` does the same.
"""

import subprocess
import sys
from pathlib import Path

from headstability.storage.locks import is_running


def main() -> None:
    """Unlock the folder if it is locked and nobody is at work in it."""
    locks = Path(".snakemake", "locks")
    if not locks.is_dir() or not any(locks.iterdir()) or is_running():
        return
    print("A former run was killed; its lock is removed, its finished work is kept.", flush=True)
    command = [sys.executable, "-m", "snakemake", "--unlock", "--quiet", "all", *sys.argv[1:]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


main()
