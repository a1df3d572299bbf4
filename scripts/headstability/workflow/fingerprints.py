"""Hashes of the code a job really uses: its script, and what that reaches in the library.

Snakemake looks only at the modification time of a script, so an edited helper would go unnoticed
and a fresh clone would retrain everything. These hashes are part of every job's parameter instead.
They follow imports function by function and ignore comments, docstrings, spacing and positions.
"""

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

# Modules whose work never reaches an output: messages, progress, locks, copies that hold the bytes
# of the original. Rewording a message must not retrain a model.
WITHOUT_EFFECT = {
    "job",
    "headstability.errors",
    "headstability.storage.locks",
    "headstability.storage.machine",
    "headstability.storage.progress",
}
# Fields that differ between Python versions or hold no code.
_SKIPPED_FIELDS = {"ctx", "kind", "type_comment", "type_ignores"}
# The others, by kind of node.
_FIELDS: dict[type, list[str]] = {}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
_DOCUMENTED = (ast.Module, *_DEFINITIONS)
# Stands for everything in a module.
EVERYTHING = "*"
# A name in a module: what is used of the library.
Name = tuple[str, str]


@dataclass(frozen=True)
class _Part:
    """A statement of a module: its code without positions, and the names it uses."""

    code: str
    uses: frozenset[Name]


@dataclass
class _Module:
    """The statements of a module: by the names they bind, those that always run, and imports."""

    named: dict[str, list[_Part]] = field(default_factory=dict)
    always: list[_Part] = field(default_factory=list)
    imported: dict[str, set[Name]] = field(default_factory=dict)

    def parts(self, name: str) -> list[_Part]:
        """What runs, or may run, for one who uses a name of the module."""
        named = self.named.values() if name == EVERYTHING else [self.named.get(name, [])]
        return [*self.always, *(part for parts in named for part in parts)]

    def origins(self, name: str) -> set[Name]:
        """What one gets who takes from the module a name that it imports of the library."""
        names = self.imported if name == EVERYTHING else [name]
        return {origin for one in names for origin in self.imported.get(one, ())}


def code_hashes(
    script: str | Path, functions: Sequence[str] = (), root: str | Path | None = None
) -> dict[str, str]:
    """Hashes of a script and of what it uses of the library, directly or through others.

    Args:
        script: path of a script; all of it counts.
        functions: others that it calls by name, each as package.module:function.
        root: the folder in which local modules lie; absent: that of the script.

    Returns:
        A hash of 16 hex digits by module name, the script's own included. It covers the
        statements that are used, with those that run whenever the module is imported.
    """
    used = _used_code(Path(script), functions, Path(root or Path(script).parent))
    return {module: _sha256("\n".join(sorted(codes))) for module, codes in used.items()}


def _used_code(script: Path, functions: Sequence[str], root: Path) -> dict[str, set[str]]:
    """The statements that `code_hashes` covers, by module."""
    found: dict[str, set[str]] = {}
    modules: dict[str, _Module] = {}
    seen: set[Name] = set()
    own = ".".join(script.relative_to(root).with_suffix("").parts)
    waiting: list[Name] = [(own, EVERYTHING)]
    waiting += [(module, name) for module, _, name in (f.partition(":") for f in functions)]
    while waiting:
        module, name = waiting.pop()
        if (module, name) in seen or module in WITHOUT_EFFECT:
            continue
        seen.add((module, name))
        if module not in modules:
            path = script if module == own else _file(module, root)
            if path is None:  # a folder of scripts
                continue
            modules[module], found[module] = _read(path, module, root, _stamp(path)), set()
            if parent := module.rpartition(".")[0]:
                waiting.append((parent, EVERYTHING))
        if module != own:  # nobody takes anything from a script
            waiting += modules[module].origins(name)
        for part in modules[module].parts(name):
            if part.code not in found[module]:
                found[module].add(part.code)
                waiting += part.uses
    return found


def job_code(scripts: Path, script: str, call: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of the code of a job.

    Args:
        scripts: folder of the scripts.
        script: path of the job's script in it.
        call: what a generic script is told (`graph.Uses`).
    """
    functions = [f"headstability.{call['function']}"] if "function" in call else []
    return code_hashes(scripts / script, functions, scripts)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file does, so that what was read of it can be kept between rules."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@cache
def _read(path: Path, module: str, root: Path, stamp: tuple[int, int]) -> _Module:
    """The statements of a file, each with the names it uses of the library."""
    del stamp  # only tells versions of the file apart
    tree = ast.parse(path.read_bytes(), filename=str(path))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = _Module()
    statements: list[tuple[ast.stmt, str, _Text]] = []
    for statement in tree.body[_has_docstring(tree) :]:
        text = _Text()
        code = text.of(statement)
        # What imports of the library bind counts by what it leads to, wherever they stand.
        of_library = False
        for node in text.imports:
            for name, origin in _imported(node, package, root):
                of_library = True
                if name is None:
                    found.always.append(_Part(f"import {origin[0]}", frozenset({origin})))
                else:
                    found.imported.setdefault(name, set()).add(origin)
        if not (of_library and isinstance(statement, _IMPORTS)):
            statements.append((statement, code, text))
    own = {name for statement, *_ in statements for name in _bound(statement)}
    foreign = {n for s, *_ in statements if isinstance(s, _IMPORTS) for n in _bound(s)}
    local_names = (own - foreign) | set(found.imported)
    for statement, code, text in statements:
        part = _Part(code, text.uses(module, own, found.imported, root))
        names = _bound(statement)
        for name in names:
            found.named.setdefault(name, []).append(part)
        if not names or _registers(statement, local_names):
            found.always.append(part)
    return found


def _bound(statement: ast.stmt) -> list[str]:
    """The names a statement binds and does nothing else; [] if it does anything else."""
    if isinstance(statement, _DEFINITIONS):
        return [statement.name]
    if isinstance(statement, _IMPORTS):
        return [(alias.asname or alias.name).split(".")[0] for alias in statement.names]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
    names: list[str] = []
    for target in targets:
        elements = target.elts if isinstance(target, ast.Tuple) else [target]
        if not all(isinstance(element, ast.Name) for element in elements):
            return []
        names += [element.id for element in elements]
    return names


def _registers(statement: ast.stmt, local: set[str]) -> bool:
    """Whether a definition is handed to a decorator of the library, which may keep it."""
    decorators = getattr(statement, "decorator_list", [])
    names = {n.id for one in decorators for n in ast.walk(one) if isinstance(n, ast.Name)}
    return not names.isdisjoint(local)


class _Text:
    """What a statement says, without comments, docstrings, spacing and positions."""

    def __init__(self) -> None:
        self.imports: list[ast.Import | ast.ImportFrom] = []
        self._names: list[str] = []
        self._attributes: dict[str, list[str]] = {}

    def of(self, node: object) -> str:
        """Like ast.dump, the same on every Python this project supports; notes names on the way."""
        kind = type(node)
        if kind is list:
            return f"[{','.join(map(self.of, node))}]"
        if kind not in _FIELDS:
            if not isinstance(node, ast.AST):
                return repr(node)
            _FIELDS[kind] = [name for name in kind._fields if name not in _SKIPPED_FIELDS]
        if kind is ast.Name:
            self._names.append(node.id)
        elif kind is ast.Attribute and type(node.value) is ast.Name:
            self._attributes.setdefault(node.value.id, []).append(node.attr)
        elif kind in _IMPORTS:
            self.imports.append(node)
        fields = []
        for name in _FIELDS[kind]:
            value = getattr(node, name, None)
            if name == "body" and _has_docstring(node):
                value = value[1:]
            if value is not None and value != []:
                fields.append(f"{name}={self.of(value)}")
        return f"{kind.__name__}({','.join(fields)})"

    def uses(
        self, module: str, own: set[str], imported: Mapping[str, set[Name]], root: Path
    ) -> frozenset[Name]:
        """The names it uses of its own module and of others of the library."""
        used: set[Name] = set()
        for name, count in Counter(self._names).items():
            if name in own:
                used.add((module, name))
            for origin, inside in imported.get(name, ()):
                taken = self._attributes.get(name, [])
                if inside != EVERYTHING or len(taken) < count:
                    used.add((origin, inside))
                    continue
                for attribute in taken:  # only ever as module.name
                    inner = f"{origin}.{attribute}"
                    used.add((inner, EVERYTHING) if _file(inner, root) else (origin, attribute))
        return frozenset(used)


def _imported(node: ast.AST, package: str, root: Path) -> Iterator[tuple[str | None, Name]]:
    """What an import binds of the library: a name of a module, or a whole module.

    The name it is bound to is None where the import alone makes all of a module count.
    """
    if isinstance(node, ast.Import):
        for alias in node.names:
            if _file(alias.name, root):
                yield alias.asname, (alias.name, EVERYTHING)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = package.split(".")
            above = parts[: len(parts) - node.level + 1]
            base = ".".join([*above, base] if base else above)
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            if alias.name == "*" and _file(base, root):
                yield None, (base, EVERYTHING)
            elif _file(inner, root):
                yield alias.asname or alias.name, (inner, EVERYTHING)
            elif _file(base, root):
                yield alias.asname or alias.name, (base, alias.name)


@cache
def _file(module: str, root: Path) -> Path | None:
    """The file of a local module or package; None of any other."""
    base = root.joinpath(*module.split("."))
    candidates = (base / "__init__.py", base.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _has_docstring(node: ast.AST) -> bool:
    return isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None
