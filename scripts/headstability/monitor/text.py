"""The state of a study in words: for a terminal, and in one line for a log."""

import time

from ..storage.progress import Reading
from .state import BROKEN, DONE, QUEUED, RUNNING, WAITING, JobState, StudyState

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


def headline(state: StudyState) -> str:
    """The state of a study in one line, for the log of a run."""
    cells = state.counts.get("cells", {})
    done = f"{cells.get(DONE, 0)} of {sum(cells.values())} cells"
    done += f", {len(state.of_state(DONE))} of {len(state.jobs)} jobs done"
    trained = [job for job in state.of_state(RUNNING) if job.reading]
    running = [f"{job.label} {_progress(job.reading)}" for job in trained[:2]]
    return f"Study {state.study}: {'; '.join([done, *running, _left(state)])}"


def overview(state: StudyState) -> str:
    """The state of a study in full: its run, what is done, runs and failed, the time left."""
    lines = [f"Study {state.study}: {_run(state)}", ""]
    lines += _table(state)
    for title, states in (("Running", (RUNNING, QUEUED)), ("Interrupted", (BROKEN,))):
        jobs = state.of_state(*states)
        if jobs:
            lines += ["", f"{title}:", *_listed(jobs, state.now)]
    if state.failed:
        lines += ["", "Failed in the last run:"]
        lines += [f"  {path}: {said}" for path, said in list(state.failed.items())[:SHOWN]]
        if len(state.failed) > SHOWN:
            lines.append(f"  ... and {len(state.failed) - SHOWN} more")
    if not state.complete:
        lines += ["", _left(state, full=True)]
    return "\n".join(lines)


def _run(state: StudyState) -> str:
    run = state.run
    sign = ""
    if state.last_written is not None:
        sign = f" (last sign of life {duration(state.now - state.last_written)} ago)"
    if state.alive and run is not None:
        clock = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started))
        where = "" if run.here else " on another machine"
        return f"a run{where} is going on since {clock}{sign}."
    if state.complete:
        return "complete; no run is going on."
    if run is None and not state.of_state(DONE, BROKEN):
        return "not started."
    what = "interrupted: no run" if state.of_state(BROKEN) else "unfinished: no run"
    seen = "" if run is None or run.here else " that can be seen from here"
    return f"{what} is going on{seen}{sign}. Run the same command to continue."


def _table(state: StudyState) -> list[str]:
    lines = []
    for group, states in state.counts.items():
        done, total = states.get(DONE, 0), sum(states.values())
        unfinished = [name for name in (RUNNING, QUEUED, BROKEN, WAITING) if name in states]
        others = ", ".join(f"{states[name]} {name}" for name in unfinished)
        line = f"  {group:<13}{f'{done} of {total}':>12} done"
        lines.append(f"{line}   {others}" if others else line)
    return lines


def _listed(jobs: list[JobState], now: float) -> list[str]:
    shown = sorted(jobs, key=lambda job: (job.rule != "train", job.rule, job.label))
    names = [f"{job.rule} {job.label}" for job in shown[:SHOWN]]
    width, rows = max(map(len, names)), zip(names, shown, strict=False)
    lines = [f"  {name:<{width}}  {_state(job, now)}".rstrip() for name, job in rows]
    if len(jobs) > SHOWN:
        lines.append(f"  ... and {len(jobs) - SHOWN} more")
    return lines


def _state(job: JobState, now: float) -> str:
    age = f"for {duration(now - job.since)}" if job.since is not None else ""
    if job.state == QUEUED:
        return f"with the cluster {age}"
    if job.state == BROKEN:
        return f"stopped after {_progress(job.reading)}" if job.reading else "stopped"
    if job.rule != "train":
        return age
    if job.reading is None:
        return f"starting, {age}"
    silent = now - (job.last_written or now)
    note = f"; silent for {duration(silent)}" if silent > SILENT else ""
    return f"{_progress(job.reading)}, {job.reading.left} left{note}"


def _progress(reading: Reading) -> str:
    note = f", {reading.note}" if reading.note else ""
    return f"step {reading.done} of {reading.total} ({reading.done / reading.total:.0%}){note}"


def _left(state: StudyState, full: bool = False) -> str:
    if state.left is None:
        return "Time left: unknown until a training has begun." if full else "time left unknown"
    about = f"{'at least' if state.uncounted else 'about'} {duration(state.left)}"
    if not full:
        return f"{about} left"
    pace = "one job" if state.at_once == 1 else f"{state.at_once} jobs"
    text = f"Time left: {about}, {pace} at a time, judged by jobs that have finished"
    if state.uncounted:
        text += f"; {state.uncounted} jobs are of kinds none of which has finished"
    return f"{text}."
