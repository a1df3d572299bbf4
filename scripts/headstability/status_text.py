"""A snapshot of a study in words: for a terminal, for a log, and in one line."""

import time

from .snapshot import BROKEN, DONE, GROUPS, QUEUED, RUNNING, WAITING, Job, Snapshot

# Seconds after which a training, which writes to its log every 15 seconds, is called silent.
SILENT = 120.0
# Jobs shown one by one.
SHOWN = 16


def duration(seconds: float) -> str:
    """A time in words: 40 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def headline(snapshot: Snapshot) -> str:
    """A snapshot in one line, for the log of a run."""
    cells = snapshot.counts.get("cells", {})
    done = len(snapshot.of_state(DONE))
    parts = [
        f"{cells.get(DONE, 0)} of {sum(cells.values())} cells",
        f"{done} of {len(snapshot.jobs)} jobs done",
    ]
    trained = [job for job in snapshot.of_state(RUNNING) if job.reading]
    if trained:
        parts.append("; ".join(f"{job.label} {_progress(job)}" for job in trained[:2]))
    parts.append(_left(snapshot))
    return f"Study {snapshot.study}: {', '.join(parts[:2])}; {'; '.join(parts[2:])}"


def overview(snapshot: Snapshot) -> str:
    """A snapshot in full: the run, what is done by group, what runs, what failed, time left."""
    lines = [f"Study {snapshot.study}: {_run(snapshot)}", ""]
    lines += _table(snapshot)
    for title, states in (("Running", (RUNNING, QUEUED)), ("Interrupted", (BROKEN,))):
        jobs = snapshot.of_state(*states)
        if jobs:
            lines += ["", f"{title}:", *_listed(jobs, snapshot.now)]
    if snapshot.failed:
        lines += ["", "Failed in the last run:"]
        shown = list(snapshot.failed.items())[:SHOWN]
        lines += [f"  {path}: {message}" for path, message in shown]
        if len(snapshot.failed) > SHOWN:
            lines.append(f"  ... and {len(snapshot.failed) - SHOWN} more")
    if not snapshot.complete:
        lines += ["", _left(snapshot, full=True)]
    return "\n".join(lines)


def _run(snapshot: Snapshot) -> str:
    run = snapshot.run
    sign = ""
    if snapshot.signed is not None:
        sign = f" (last sign of life {duration(snapshot.now - snapshot.signed)} ago)"
    if snapshot.alive and run is not None:
        clock = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started))
        where = "" if run.here else " on another machine"
        return f"a run{where} is going on since {clock}{sign}."
    if snapshot.complete:
        return "complete; no run is going on."
    if run is None and not snapshot.of_state(DONE, BROKEN):
        return "not started."
    what = "interrupted: no run" if snapshot.of_state(BROKEN) else "unfinished: no run"
    seen = "" if run is None or run.here else " that can be seen from here"
    return f"{what} is going on{seen}{sign}. Run the same command to continue."


def _table(snapshot: Snapshot) -> list[str]:
    lines = []
    for group, states in snapshot.counts.items():
        done, total = states.get(DONE, 0), sum(states.values())
        others = [
            f"{states[state]} {state}"
            for state in (RUNNING, QUEUED, BROKEN, WAITING)
            if state in states
        ]
        lines.append(
            f"  {GROUPS[group]:<13}{f'{done} of {total}':>12} done"
            + (f"   {', '.join(others)}" if others else "")
        )
    return lines


def _listed(jobs: list[Job], now: float) -> list[str]:
    shown = sorted(jobs, key=lambda job: (job.rule != "train", job.rule, job.label))
    names = [f"{job.rule} {job.label}" for job in shown[:SHOWN]]
    width = max(map(len, names))
    lines = [
        f"  {name:<{width}}  {_state(job, now)}".rstrip()
        for name, job in zip(names, shown, strict=False)
    ]
    if len(jobs) > SHOWN:
        lines.append(f"  ... and {len(jobs) - SHOWN} more")
    return lines


def _state(job: Job, now: float) -> str:
    age = f"for {duration(now - job.since)}" if job.since is not None else ""
    if job.state == QUEUED:
        return f"with the cluster {age}"
    if job.state == BROKEN:
        return f"stopped after {_progress(job)}" if job.reading else "stopped"
    if job.rule != "train":
        return age
    if job.reading is None:
        return f"starting, {age}"
    silent = now - (job.signed or now)
    note = f"; silent for {duration(silent)}" if silent > SILENT else ""
    return f"{_progress(job)}, {job.reading.left} left{note}"


def _progress(job: Job) -> str:
    reading = job.reading
    if reading is None:
        return ""
    note = f", {reading.note}" if reading.note else ""
    return f"step {reading.done} of {reading.total} ({reading.done / reading.total:.0%}){note}"


def _left(snapshot: Snapshot, full: bool = False) -> str:
    if snapshot.left is None:
        return "Time left: unknown until a training has begun." if full else "time left unknown"
    about = f"{'at least' if snapshot.uncounted else 'about'} {duration(snapshot.left)}"
    if not full:
        return f"{about} left"
    pace = "one job" if snapshot.at_once == 1 else f"{snapshot.at_once} jobs"
    text = f"Time left: {about}, {pace} at a time, judged by jobs that have finished"
    if snapshot.uncounted:
        text += f"; {snapshot.uncounted} jobs are of kinds none of which has finished"
    return f"{text}."
