"""A study for notebooks and scripts: its cells, conditions and tables (docs/notebooks.md).

`open_study` reads the folder of a study and nothing else: no Snakemake, no PyTorch (until weights
are read), no config file other than the folder's own record.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..analysis.atlas import token_labels
from ..errors import UserError
from ..storage.files import read_csv, read_json
from ..study.config_file import read_config
from ..study.paths import RESULTS, fill
from ..study.saved_config import recorded_config
from ..study.study import Study
from ..text.tokenizers import load_tokenizer
from .arrays import Store, one_store, squares, stacked
from .files import Files, Named, by_name, checked


def open_study(folder: str | Path, config: str | Path | None = None) -> "OpenStudy":
    """Open the results of a study from its folder, such as results/default.

    `config` is the study's config file, by default the record that every run writes in the folder.

    Raises:
        UserError: the folder is not that of a study, or its config cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        there = sorted(str(path.parent) for path in folder.parent.glob("*/config.yaml"))
        found = f"; studies in {folder.parent}: {', '.join(there)}" if there else ""
        raise UserError(
            f"{folder} is not a folder{found}. Give the folder of a study, such as "
            f"{RESULTS}/default, as seen from {Path.cwd()}"
        )
    source = Path(config) if config else folder / "config.yaml"
    try:
        study = Study(read_config(source) if config else recorded_config(source))
    except UserError as error:
        raise UserError(
            f"{folder} cannot be opened: {error}\nGive the config it was run with, "
            "open_study(folder, config='config.yaml'), or run the study again: finished work is "
            "kept, and the record is written anew"
        ) from error
    if config and study.name != folder.resolve().name:
        raise UserError(
            f"{config} is the config of study {study.name!r}, not of the one in {folder}: its "
            f"results are in {study.paths.root}"
        )
    return OpenStudy(folder, study, source)


class _Part:
    """A cell or condition: its name, and its files by its wildcards."""

    def __init__(self, files: Files, wildcards: Mapping[str, str], name: str) -> None:
        self._files, self._paths, self._wildcards = files, files.study.paths, dict(wildcards)
        self.architecture, self.weight_decay = wildcards["architecture"], wildcards["weight_decay"]
        self.name = fill(name, **wildcards)

    def _need(self, pattern: str, what: str, **more: str) -> Path:
        return self._files.need(pattern, f"{what} of {self.name}", **self._wildcards, **more)

    def _of_step(self, pattern: str, what: str, step: int | None, prompts: str | None) -> Path:
        """A file by step and prompt set; `what` may name these in braces."""
        chosen = self._files.chosen(step, prompts)
        return self._need(pattern, what.format(**chosen), **chosen)


class Cell(_Part):
    """One refit of one condition; its `name` is architecture/wd<value>/refit."""

    def __init__(self, files: Files, wildcards: Mapping[str, str]) -> None:
        super().__init__(files, wildcards, files.study.paths.cell_name)
        self.refit = wildcards["refit"]

    @property
    def finished(self) -> bool:
        """Whether its training (or import) has ended."""
        return self._files.place(fill(self._paths.provenance, **self._wildcards)).exists()

    @property
    def provenance(self) -> dict[str, Any]:
        """How it was made: seeds, recipe, versions, hashes of weights by step."""
        return checked(read_json, self._need(self._paths.provenance, "the record"))

    @property
    def training(self) -> pd.DataFrame:
        """step, tokens, loss, learning_rate, gradient_norm, held_out_loss; not of imports."""
        if self.architecture not in self._files.study.architectures_of("train"):
            raise UserError(f"{self.name} was trained elsewhere: there is no training table of it")
        return checked(read_csv, self._need(self._paths.training, "the training"))

    @property
    def caches(self) -> list[tuple[int, str]]:
        """The steps and prompt sets whose caches exist."""
        study = self._files.study
        cache = partial(fill, self._paths.cache, **self._wildcards)
        return [
            (step, prompts)
            for step, prompts in product(study.checkpoint_steps, study.config.prompts)
            if self._files.place(cache(step=step, prompts=prompts)).exists()
        ]

    def store(self, step: int | None = None, prompts: str | None = None) -> Store:
        """A cache on disk, not opened yet."""
        what = "the cache of step {step} on {prompts}"
        return Store(self._of_step(self._paths.cache, what, step, prompts))

    def cache(self, step: int | None = None, prompts: str | None = None) -> xr.Dataset:
        """Activations and norms (docs/methods.md, "Cache"), lazily; by default those of tables."""
        return one_store(self.store(step, prompts))

    def patterns(self, step: int | None = None, prompts: str | None = None) -> xr.DataArray:
        """Attention patterns (layer, head, prompt, query, key), lazily (`arrays.squares`)."""
        return squares({self.refit: self.store(step, prompts)}).isel(refit=0)

    def weights(self, step: int | None = None) -> dict[str, np.ndarray]:
        """The weights of a checkpoint by name, read and checked now; needs PyTorch."""
        from ..models.checkpoints import read_tensors  # noqa: PLC0415 - slow to import, seldom needed

        chosen = self._files.chosen(step, None)["step"]
        path = self._need(self._paths.checkpoint, f"the weights of step {chosen}", step=chosen)
        tensors, _ = checked(read_tensors, path)
        return {name: value.numpy() for name, value in tensors.items()}

    def __repr__(self) -> str:
        state = "finished" if self.finished else "unfinished"
        caches = ", ".join(f"step {step} on {prompts}" for step, prompts in self.caches)
        return f"Cell {self.name}: {state}; caches: {caches or 'none'}"


class Condition(_Part):
    """All refits of one architecture and weight decay; its `name` is architecture/wd<value>."""

    def __init__(self, files: Files, wildcards: Mapping[str, str], cells: Sequence[Cell]) -> None:
        super().__init__(files, wildcards, files.study.paths.condition_name)
        self.cells = {cell.refit: cell for cell in cells}
        self.refits = list(self.cells)

    def caches(self, step: int | None = None, prompts: str | None = None) -> xr.Dataset:
        """The caches of all refits (refit, layer, ...), lazily; heads do not correspond."""
        return stacked(self._stores(step, prompts))

    def patterns(self, step: int | None = None, prompts: str | None = None) -> xr.DataArray:
        """Attention patterns (refit, layer, head, prompt, query, key), lazily: `arrays.squares`."""
        return squares(self._stores(step, prompts))

    def similarity(self, step: int | None = None, prompts: str | None = None) -> xr.Dataset:
        """Cosines of heads (`conditions.condition_similarity`), lazily, refits by name."""
        what = "the similarity at step {step} on {prompts}"
        store = Store(self._of_step(self._paths.similarity, what, step, prompts))
        names = list(store.dataset.attrs["refits"])
        return one_store(store, {"refit": names, "other_refit": names})

    def stability(self, step: int | None = None, prompts: str | None = None) -> pd.DataFrame:
        """anchor, layer, head, stability: every head of every refit."""
        what = "the table of stability at step {step} on {prompts}"
        return checked(read_csv, self._of_step(self._paths.stability_heads, what, step, prompts))

    def matches(self, step: int | None = None, prompts: str | None = None) -> pd.DataFrame:
        """anchor, refit, layer, head, match, similarity: best matches in the same layer."""
        what = "the table of matches at step {step} on {prompts}"
        return checked(read_csv, self._of_step(self._paths.stability_matches, what, step, prompts))

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Every existing table of the condition, by its path: step700/roles/passages/heads."""
        root = self._files.place(f"{self._paths.root}/conditions/{self.name}")
        parts = {
            str(path.relative_to(root).with_suffix("")): partial(checked, read_csv, path)
            for path in sorted(root.rglob("*.csv"))
        }
        return Named(f"table of {self.name},", self._files.study.name, parts)

    def _stores(self, step: int | None, prompts: str | None) -> dict[str, Store]:
        return {refit: cell.store(step, prompts) for refit, cell in self.cells.items()}

    def __repr__(self) -> str:
        done = sum(cell.finished for cell in self.cells.values())
        return (
            f"Condition {self.name}: {done} of {len(self.cells)} refits finished "
            f"({', '.join(self.refits)}); {len(self.tables)} tables"
        )


class OpenStudy:
    """A study: `cells`, `conditions` and `tables` (those beside figures, as pandas) by name.

    `config` is its validated config, `anchor` the first refit, which figures of one anchor show.
    """

    def __init__(self, folder: Path, study: Study, config: Path) -> None:
        self._files = files = Files(folder, study, config)
        self.folder, self.name = folder, study.name
        self.config, self.anchor = study.config, study.anchor
        cells = [Cell(files, wildcards) for wildcards in study.cells()]
        self.cells: Mapping[str, Cell] = by_name("cell", study.name, cells)
        conditions = [
            Condition(files, at, [c for c in cells if at.items() <= c._wildcards.items()])
            for at in study.conditions()
        ]
        self.conditions: Mapping[str, Condition] = by_name("condition", study.name, conditions)

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Tables of the config's figures, by name: heads, head_map/deep/wd0.1."""
        prefix = f"{self._files.study.paths.root}/tables/"
        parts = {
            path.removeprefix(prefix).removesuffix(".csv"): partial(self._table, path)
            for path in self._files.study.table_paths()
        }
        return Named("table", self.name, parts)

    def condition(self, architecture: str, weight_decay: float | str) -> Condition:
        """One condition by its parts."""
        name = self._files.study.paths.condition_name
        return self.conditions[fill(name, architecture=architecture, weight_decay=weight_decay)]

    def cell(self, architecture: str, weight_decay: float | str, refit: str) -> Cell:
        """One cell by its parts."""
        parts = {"architecture": architecture, "weight_decay": weight_decay, "refit": refit}
        return self.cells[fill(self._files.study.paths.cell_name, **parts)]

    def prompts(self, name: str | None = None) -> dict[str, Any]:
        """A prompt set: name, bos, tokens (ids of each prompt, BOS first), texts."""
        chosen = self._files.chosen(None, name)["prompts"]
        pattern, what = self._files.study.paths.prompts, f"the prompt set {chosen}"
        return checked(read_json, self._files.need(pattern, what, prompts=chosen))

    def tokens(self, prompt: int, prompts: str | None = None) -> list[str]:
        """The tokens of one prompt, counted from 1, as labels of its positions."""
        path = self._files.need(self._files.study.paths.tokenizer, "the tokenizer")
        bos = getattr(self.config.tokenizer, "bos", None)
        decode = partial(load_tokenizer(path, bos).decode, skip_special_tokens=False)
        return token_labels(self.prompts(prompts), prompt, decode)

    def _table(self, path: str) -> pd.DataFrame:
        return checked(read_csv, self._files.need(path, f"table {Path(path).stem}"))

    def __repr__(self) -> str:
        study, files = self._files.study, self._files
        done = sum(cell.finished for cell in self.cells.values())
        paths = study.table_paths()
        made = sum(files.place(path).exists() for path in paths)
        measured = sum(
            files.place(fill(study.paths.stability_heads, **wildcards, **study.measured)).exists()
            for wildcards in study.conditions()
        )
        steps = ", ".join(map(str, study.checkpoint_steps))
        cell, condition = next(iter(self.cells)), next(iter(self.conditions))
        lines = [
            f"Study {self.name!r} in {self.folder}",
            f"  architectures  {', '.join(map(self._shape, study.architectures))}",
            f"  weight decays  {', '.join(study.weight_decays)}",
            f"  refits         {', '.join(study.refit_names())} (anchor: {self.anchor})",
            f"  checkpoints    steps {steps}; prompt sets {', '.join(self.config.prompts)}",
            f"  .cells         {done} of {len(self.cells)} finished: .cells[{cell!r}]",
            f"  .conditions    {measured} of {len(self.conditions)} measured: "
            f".conditions[{condition!r}]",
            f"  .tables        {made} of {len(paths)} made: .tables['heads']",
        ]
        return "\n".join(lines)

    def _shape(self, architecture: str) -> str:
        shape = self.config.architectures[architecture]
        kind = "" if shape.mlp else ", attention only"
        layers = f"{shape.layers} layer{'s' * (shape.layers > 1)}"
        return f"{architecture} ({layers}, {shape.heads} heads{kind})"
