"""A real Slurm cluster of one node, on loopback, for as long as a test needs it."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

NEEDED = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "sinfo", "scontrol", "munged")
PACKAGES = "apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"
ETC = Path("/etc/slurm")
LINKS = (ETC / "slurm.conf", ETC / "gres.conf")
HOSTS = Path("/etc/hosts")
KEY = Path("/etc/munge/munge.key")
LIMIT = 30  # seconds for any part of the cluster to come up or go down

# The node claims more than the machine has: what is tested is who runs when, not how fast.
MARK = "# of tests/workflow/cluster.py"
CONFIG = """{mark}
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldLogFile={home}/log/slurmctld.log
SlurmdLogFile={home}/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=600
KillWait=20
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=6 RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=DEFAULT Nodes=ALL DefMemPerCPU=500 State=UP
PartitionName=cpu Default={default} PriorityTier=1
PartitionName=gpu PriorityTier=1
PartitionName=short MaxTime=5 PriorityTier=1
PartitionName=urgent PriorityTier=2
"""


def run(*command, ok=True):
    """Run a command; returns its output."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert not ok or done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
    return done.stdout


def why_not():
    """Why no cluster can be started here; None if it can."""
    if os.geteuid() != 0:
        return "only root can start a Slurm cluster"
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        return f"{', '.join(missing)} not installed ({PACKAGES})"
    if any(link.exists() and not left_behind(link) for link in LINKS) or "SLURM_CONF" in os.environ:
        return "this machine belongs to a Slurm cluster already"
    if not KEY.exists() and not os.access(KEY.parent, os.W_OK):
        return f"{KEY} is missing"
    return None


def left_behind(link):
    """Whether a link in /etc/slurm is of tests that were killed, whose cluster is gone, too."""
    if not link.is_symlink():
        return False
    home = link.readlink().parent
    with suppress(OSError):
        if not (home / "slurm.conf").read_text().startswith(MARK):
            return False
    return not any(is_running(home, name) for name in ("slurmctld", "slurmd"))


def is_running(home, name):
    with suppress(OSError, ValueError):
        number = int((home / f"{name}.pid").read_text())
        return Path(f"/proc/{number}/comm").read_text().strip() == name
    return False


def wait_until(condition, what):
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"{what} took too long"
        time.sleep(0.1)


@contextmanager
def munge():
    """The daemon that vouches for users, unless it runs already."""
    if "STATUS" in run("sh", "-c", "munge -n | unmunge", ok=False):
        yield
        return
    if not KEY.exists():
        KEY.write_bytes(os.urandom(1024))
        shutil.chown(KEY, "munge", "munge")
        KEY.chmod(0o400)
    for folder in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
        Path(folder).mkdir(mode=0o755, exist_ok=True)
        shutil.chown(folder, "munge", "munge")
    run("runuser", "-u", "munge", "--", "munged")
    try:
        wait_until(lambda: "STATUS" in run("sh", "-c", "munge -n | unmunge", ok=False), "munged")
        yield
    finally:
        stop(Path("/run/munge/munged.pid"))


def stop(pid_file):
    """Stop the daemon that wrote a pid file and wait for its end."""
    with suppress(OSError, ValueError):
        number = int(pid_file.read_text())
        os.kill(number, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{number}").exists() or is_zombie(number), pid_file.name)


def is_zombie(number):
    with suppress(OSError):
        return ") Z " in Path(f"/proc/{number}/stat").read_text()
    return True


@contextmanager
def host_resolves(host):
    """A line in /etc/hosts while the cluster runs, if the machine does not know its own name."""
    try:
        socket.gethostbyname(host)
    except OSError:
        before = HOSTS.read_bytes()
        HOSTS.write_bytes(before + f"\n127.0.0.1 {host}\n".encode())
        try:
            yield
        finally:
            HOSTS.write_bytes(before)
    else:
        yield


@contextmanager
def cluster(home, default="YES"):
    """Start the cluster and stop it, with all its jobs, at the end.

    Args:
        home: a folder for its files.
        default: whether the partition `cpu` is the one jobs go to that name none.
    """
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool", "log"):
        (home / name).mkdir(parents=True)
    for number in range(2):
        os.mknod(home / f"gpu{number}", 0o666 | 0o020000, os.makedev(1, 3))  # like /dev/null
    (home / "slurm.conf").write_text(
        CONFIG.format(mark=MARK, host=host, home=home, default=default)
    )
    (home / "gres.conf").write_text(f"Name=gpu File={home}/gpu[0-1]\n")
    ETC.mkdir(exist_ok=True)
    for link in LINKS:
        if left_behind(link):
            link.unlink()
    try:
        for link in LINKS:
            link.symlink_to(home / link.name)
        with host_resolves(host), munge():
            try:
                run("slurmctld", "-c")
                run("slurmd", "-c")
                idle = ("sinfo", "-h", "-p", "cpu", "-o", "%T")
                wait_until(lambda: run(*idle, ok=False).strip() == "idle", "the cluster")
                yield home
            finally:
                run("scancel", "--user=root", ok=False)
                with suppress(AssertionError):
                    wait_until(lambda: not queue(), "the end of cancelled jobs")
                stop(home / "slurmd.pid")
                stop(home / "slurmctld.pid")
    finally:
        for link in LINKS:
            link.unlink(missing_ok=True)


def queue():
    """Jobs that wait, run or end: id, name, state, comment and working folder of each."""
    listed = run("squeue", "-h", "-o", "%i|%j|%T|%k|%Z", ok=False)
    fields = ("id", "name", "state", "comment", "folder")
    rows = [line.split("|") for line in listed.splitlines() if line.count("|") == len(fields) - 1]
    return [dict(zip(fields, row, strict=True)) for row in rows]


def ended(number):
    """State and exit code of a job that has ended, as the controller remembers it."""
    shown = run("scontrol", "show", "job", str(number))
    words = dict(word.split("=", 1) for word in shown.split() if "=" in word)
    return words["JobState"], words["ExitCode"]
