"""Checking the files of a study against their recorded hashes, without changing anything."""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import DamagedFile, UserError
from ..models.checkpoints import read_tensors
from ..storage.files import check_sidecar, read_json, sha256_file, sidecar
from ..storage.stores import open_cache, verify_cache
from ..text.token_files import open_tokens

# Folders whose files hold times and are not outputs.
_NOT_OUTPUTS = {"logs", "benchmarks"}


@dataclass
class Findings:
    """What is wrong with the files of a study; sizes in bytes."""

    checked: int = 0  # number of undamaged files
    missing: list[str] = field(default_factory=list)
    # Truncated or altered: path, reason, size.
    damaged: list[tuple[str, str, int]] = field(default_factory=list)
    # Files that nothing in the config makes, such as those of a removed seed: path, size.
    orphaned: list[tuple[str, int]] = field(default_factory=list)
    # What killed jobs and damaged files left, such as partial files and states: path, size.
    left_behind: list[tuple[str, int]] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Nothing expected is missing or damaged."""
        return not self.missing and not self.damaged

    def report(self) -> str:
        """The findings as text for a person."""
        lines = [f"{self.checked} files are as they were written."]
        damaged = [(path, size, f": {reason}") for path, reason, size in self.damaged]
        sections = {
            "missing (snakemake makes them)": [(path, None) for path in self.missing],
            "damaged (delete them, snakemake makes them again)": damaged,
            "orphaned (nothing in this config makes them; delete them if you like)": self.orphaned,
            "left behind by killed jobs (the next run takes them up or removes them)": (
                self.left_behind
            ),
        }
        for title, entries in sections.items():
            if entries:
                total = sum(size or 0 for _, size, *_ in entries)
                amount = f", {_megabytes(total)}" if total else ""
                lines.append(f"\n{len(entries)} {title}{amount}:")
            for path, size, *note in entries:
                shown = "" if size is None else f" ({_megabytes(size)})"
                lines.append(f"  {path}{shown}{''.join(note)}")
        return "\n".join(lines)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def verify_study(
    root: str | Path,
    expected: Sequence[str],
    on_request: Sequence[str] = (),
    progress: Callable[[int], None] = lambda done: None,
    record: str | None = None,
) -> Findings:
    """Check every file in the folder of a study.

    Files of the complete study are `expected`; those `on_request` are checked if they exist, as is
    the `record` of the config of the last run, which is no job's output and not counted.
    `progress` is told how many files are done.
    """
    findings = Findings()
    asked_for = [path for path in on_request if Path(path).exists()]
    manifests = {Path(p).parent: p for p in expected if Path(p).name == "tokens.json"}
    for number, name in enumerate([*expected, *asked_for], start=1):
        if Path(name).exists():
            findings.checked += _is_whole(Path(name), manifests, findings)
        else:
            findings.missing.append(name)
        progress(number)
    if record is not None and Path(record).exists():
        _is_whole(Path(record), manifests, findings)
    findings.damaged = list(dict.fromkeys(findings.damaged))
    listed = {Path(name) for name in (*expected, *on_request, record) if name is not None}
    known = listed | set(map(sidecar, listed))
    for path in sorted(Path(root).rglob("*")):
        if path in known or not path.is_file() or path.relative_to(root).parts[0] in _NOT_OUTPUTS:
            continue
        unfinished = ".resume" in path.parts or path.suffix in (".part", ".damaged")
        (findings.left_behind if unfinished else findings.orphaned).append((str(path), _size(path)))
    return findings


def _is_whole(path: Path, manifests: dict[Path, str], findings: Findings) -> bool:
    """Whether a file is as it was written; if it is damaged, it is put into the findings."""
    try:
        _check(path, manifests)
    except DamagedFile as error:
        # A file can be called damaged for the sake of the one its hash is recorded in.
        findings.damaged.append((str(error.path), error.reason, _size(error.path)))
        return False
    except UserError:
        return False  # what its hash is recorded in is missing, and listed as such
    return True


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check(path: Path, manifests: dict[Path, str]) -> None:
    """Check one file against the hash recorded in it or beside it; may raise DamagedFile."""
    manifest = manifests.get(path.parent)
    if "exports" in path.parts or path.suffix in (".csv", ".png", ".pdf", ".md", ".yaml"):
        check_sidecar(path)
    elif path.suffix == ".safetensors":
        read_tensors(path)
    elif path.name.endswith(".zarr.zip"):
        cache = open_cache(path)
        verify_cache(path, cache, [str(name) for name in cache.data_vars])
        _check_archive(path)
    elif path.suffix == ".bin" and manifest is not None:
        open_tokens(manifest, path, path.stem)
    elif path.name in ("tokenizer.json", "documents.jsonl") and manifest is not None:
        recorded = read_json(manifest)[f"{path.name.split('.')[0]}_sha256"]
        if sha256_file(path) != recorded:
            raise DamagedFile(path, f"its sha256 is not {recorded}, as {manifest} has it")
    elif path.suffix == ".json":
        read_json(path)


def _check_archive(path: Path) -> None:
    """Check what has no hash of its own in a cache, such as the numbers of prompts."""
    try:
        with zipfile.ZipFile(path) as archive:
            altered = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DamagedFile(path, f"not a complete archive ({error})") from error
    if altered is not None:
        raise DamagedFile(path, f"{altered} in it is altered")
