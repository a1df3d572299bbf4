"""Finds the files of a finished or unfinished study for `access`, wherever its folder is."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import DamagedFile, UserError
from ..study.paths import fill
from ..study.study import Study
from .arrays import REMEDY

T = TypeVar("T")


class NotInStudy(UserError, KeyError):
    """A cell, condition or table that the study does not have; the message says what it has."""

    __str__ = Exception.__str__  # a KeyError would show its message quoted


class Files:
    """The files of a study, wherever its folder is."""

    def __init__(self, folder: Path, study: Study, config: Path) -> None:
        self.folder, self.study, self.config = folder, study, config

    def place(self, path: str) -> Path:
        """The location of a path of the study."""
        return self.folder / path.removeprefix(f"{self.study.paths.root}/")

    def need(self, pattern: str, what: str, **wildcards: object) -> Path:
        """A file; raises UserError with a possible reason and the remedy if it is missing."""
        path = fill(pattern, **wildcards)
        found = self.place(path)
        if found.exists():
            return found
        if pattern == self.study.paths.cache and not self.study.config.caches.keep:
            reason = "caches of this study are deleted once all is measured (caches.keep: false)"
        elif self._usual(pattern, path, wildcards):
            reason = "the study is unfinished (make status says how far it is), or it was deleted"
        else:
            reason = "it is made only when it is asked for"
        raise UserError(
            f"{what} is not there: {found} is missing; {reason}. Make it, in the repository: "
            f"snakemake {path} --cores 2 --configfile {self.config}"
        )

    def _usual(self, pattern: str, path: str, wildcards: Mapping[str, object]) -> bool:
        """Whether a file is one of the complete study: of what tables show, or a kept weight."""
        if "/tables/" in path:
            return path in self.study.table_paths()
        if pattern == self.study.paths.checkpoint:
            return True
        shown = self.study.measured
        return all(str(wildcards[name]) == shown[name] for name in shown if name in wildcards)

    def chosen(self, step: int | None, prompts: str | None) -> dict[str, str]:
        """The wildcards of a step and a prompt set of the study, by default those in tables."""
        given = {"step": None if step is None else str(step), "prompts": prompts}
        found = {name: given[name] or self.study.measured[name] for name in given}
        self.study.require(**found)
        return found


def checked(read: Callable[[Path], T], path: Path) -> T:
    """What a function reads of a file; raises UserError with the remedy if it is damaged."""
    try:
        return read(path)
    except DamagedFile as error:
        raise UserError(f"{error}. {REMEDY}") from error


class Named(Mapping[str, T]):
    """Parts of a study by name; for a wrong name, the error lists the right ones."""

    def __init__(self, what: str, study: str, parts: Mapping[str, Callable[[], T]]) -> None:
        self.what, self.study, self.parts = what, study, parts

    def __getitem__(self, name: str) -> T:
        if name not in self.parts:
            close = difflib.get_close_matches(str(name), list(self.parts), n=1, cutoff=0.5)
            shown = ", ".join(list(self.parts)[:12]) + (", ..." if len(self.parts) > 12 else "")
            guess = f" Did you mean {close[0]!r}?" if close else ""
            raise NotInStudy(
                f"study {self.study!r} has no {self.what} {name!r}; it has {shown}.{guess}"
            )
        return self.parts[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def __repr__(self) -> str:
        return f"{len(self)} by name: {', '.join(self)}"


def by_name(what: str, study: str, parts: Sequence[T]) -> Named[T]:
    """Parts that have a `name`, by it."""
    return Named(what, study, {part.name: lambda part=part: part for part in parts})
