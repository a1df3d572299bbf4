"""Where the files of a finished or unfinished study are, for `access`: wherever its folder lies."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import pandas as pd

from .errors import DamagedFile, UserError
from .files import read_csv
from .jobs import expected_files
from .lazy import REMEDY
from .paths import fill
from .study import Study

T = TypeVar("T")


class NotInStudy(UserError, KeyError):
    """A cell, condition or table that the study does not have; the message says what it has."""

    __str__ = Exception.__str__  # a KeyError would show its message quoted


class Files:
    """The files of a study, wherever its folder lies."""

    def __init__(self, folder: Path, study: Study, config: Path) -> None:
        self.folder, self.study, self.config = folder, study, config

    def place(self, path: str) -> Path:
        """Where a path of the study lies."""
        return self.folder / path.removeprefix(f"{self.study.paths.root}/")

    def need(self, pattern: str, what: str, **wildcards: object) -> Path:
        """A file that must be there.

        Raises:
            UserError: it is missing; says why that may be and how to make it.
        """
        path = fill(pattern, **wildcards)
        found = self.place(path)
        if found.exists():
            return found
        if path in self.expected:
            reason = "the study is unfinished (make status says how far it is), or it was deleted"
        elif path.endswith(".zarr.zip") and not self.study.config.caches.keep:
            reason = "caches of this study are deleted once all is measured (caches.keep: false)"
        else:
            reason = "it is made only when it is asked for"
        raise UserError(
            f"{what} is not there: {found} is missing; {reason}. Make it, in the repository: "
            f"snakemake {path} --cores 2 --configfile {self.config}"
        )

    @cached_property
    def expected(self) -> set[str]:
        """Paths of the complete study."""
        return {path for path, _ in expected_files(self.study)}

    def chosen(self, step: int | None, prompts: str | None) -> dict[str, str]:
        """The wildcards of a step and a prompt set: by default those that tables show.

        Raises:
            UserError: the study has no such step or prompt set.
        """
        given = {"step": None if step is None else str(step), "prompts": prompts}
        found = {name: given[name] or self.study.measured[name] for name in given}
        self.study.require(**found)
        return found

    def table(self, path: Path) -> pd.DataFrame:
        """A table, checked against its hash."""
        return checked(read_csv, path)


def checked(read: Callable[[Path], T], path: Path) -> T:
    """What a function reads from a file.

    Raises:
        UserError: the file is damaged; says how to make it again.
    """
    try:
        return read(path)
    except DamagedFile as error:
        raise UserError(f"{error}. {REMEDY}") from error


class Named(Mapping[str, T]):
    """Parts of a study by name; a wrong name is answered with the right ones."""

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
    return Named(what, study, {part.name: partial(_itself, part) for part in parts})


def _itself(part: T) -> T:
    return part
