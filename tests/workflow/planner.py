"""Plans of Snakemake by a process that has loaded it already: half the time of a dry run."""

import atexit
import json
import subprocess
import sys
import tempfile
from pathlib import Path

SERVER = Path(__file__).with_name("plan_server.py")


class Planner:
    """A process that answers requests for dry runs, one at a time (plan_server.py)."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        atexit.register(self._process.stdin.close)  # the end of its requests ends it

    def run(self, folder, args, environment):
        """Run Snakemake in `folder`; returns the exit status and its whole output."""
        with tempfile.NamedTemporaryFile() as output:
            request = {"folder": str(folder), "args": list(map(str, args))}
            request |= {"environment": environment, "output": output.name}
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            status = int(self._process.stdout.readline())
            return status, output.read().decode()
