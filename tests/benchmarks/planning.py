"""Time to plan a study, nothing of which has run: python tests/benchmarks/planning.py [STUDY]."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPEATS = 3


def main() -> None:
    """Print the fastest of some dry runs."""
    study = sys.argv[1] if len(sys.argv) > 1 else "studies/paper.yaml"
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "all", "--configfile", study]
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        times.append(time.perf_counter() - started)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
    lines = (done.stdout + done.stderr).splitlines()
    jobs = next(line.split()[1] for line in lines if line.startswith("total"))
    print(f"{study}: {jobs} jobs planned in {min(times):.1f} s")


if __name__ == "__main__":
    main()
