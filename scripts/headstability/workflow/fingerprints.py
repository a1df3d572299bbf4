"""Hashes of the code a job really uses: its script, and what that reaches in the library.

Snakemake looks only at the modification time of a script, so an edit of the library would go
unnoticed and a fresh clone would retrain everything. These hashes follow imports function by
function and ignore comments, docstrings, spacing and positions.
"""

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

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
_FIELDS: dict[type, list[str]] = {}  # the others, by kind of node
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
_DOCUMENTED = (ast.Module, *_DEFINITIONS)
EVERYTHING = "*"  # in a module
Name = tuple[str, str]  # a module, and a name in it


class _Part(NamedTuple):
    """A statement of a module: its code without positions, and the names it uses."""

    code: str
    uses: frozenset[Name]


@dataclass
class _Module:
    """The statements of a module, and what it imports of the library."""

    always: list[_Part] = field(default_factory=list)  # those that run whenever it is imported
    # The others, and the imports, by the names they bind and as EVERYTHING.
    named: dict[str, list[_Part]] = field(default_factory=dict)
    imported: dict[str, set[Name]] = field(default_factory=dict)


def code_hashes(
    script: str | Path, functions: Sequence[str] = (), root: str | Path | None = None
) -> dict[str, str]:
    """Hashes of a script and of what it uses of the library, directly or through others, by module.

    Each covers the statements that are used, and those that run whenever the module is imported.
    `functions` are others that the script calls by name, as package.module:function; local modules
    lie in `root`, by default the folder of the script.
    """
    used = _used_code(Path(script), functions, Path(root or Path(script).parent))
    return {module: short_sha256("\n".join(sorted(codes))) for module, codes in used.items()}


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
            status = path.stat()
            stamp = status.st_mtime_ns, status.st_size
            modules[module], found[module] = _read(path, module, root, stamp), set()
            if parent := module.rpartition(".")[0]:
                waiting.append((parent, EVERYTHING))
        parts = modules[module]
        if module != own:  # nobody takes anything from a script
            waiting += parts.imported.get(name, ())
        for part in (*parts.always, *parts.named.get(name, ())):
            if part.code not in found[module]:
                found[module].add(part.code)
                waiting += part.uses
    return found


def job_code(scripts: Path, script: str, call: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of the code of a job: its script, and the function a generic script is told."""
    functions = [f"headstability.{call['function']}"] if "function" in call else []
    return code_hashes(scripts / script, functions, scripts)


def short_sha256(text: str) -> str:
    """The first 16 hex digits of the sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _read(path: Path, module: str, root: Path, stamp: tuple[int, int]) -> _Module:
    """The statements of a file, each with the names it uses of the library."""
    del stamp  # time and size of the file, so that what was read is kept until it changes
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
                for bound in () if name is None else (name, EVERYTHING):
                    found.imported.setdefault(bound, set()).add(origin)
        if not (of_library and isinstance(statement, _IMPORTS)):
            statements.append((statement, code, text))
    own = {name for statement, *_ in statements for name in _bound(statement)}
    foreign = {n for s, *_ in statements if isinstance(s, _IMPORTS) for n in _bound(s)}
    local_names = (own - foreign) | set(found.imported)
    for statement, code, text in statements:
        part = _Part(code, text.uses(module, own, found.imported, root))
        names = _bound(statement)
        for name in (*names, EVERYTHING) if names else ():
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
    base = ""
    if isinstance(node, ast.ImportFrom):
        parts = package.split(".")
        above = parts[: len(parts) - node.level + 1] if node.level else []
        base = ".".join(filter(None, [*above, node.module]))
    for alias in node.names:
        inner, name = f"{base}.{alias.name}", alias.asname or alias.name
        if isinstance(node, ast.Import):
            if _file(alias.name, root):
                yield alias.asname, (alias.name, EVERYTHING)
        elif alias.name == "*" and _file(base, root):
            yield None, (base, EVERYTHING)
        elif _file(inner, root):
            yield name, (inner, EVERYTHING)
        elif _file(base, root):
            yield name, (base, alias.name)


@cache
def _file(module: str, root: Path) -> Path | None:
    """The file of a local module or package; None of any other."""
    base = root.joinpath(*module.split("."))
    return next(filter(Path.is_file, (base / "__init__.py", base.with_suffix(".py"))), None)


def _has_docstring(node: ast.AST) -> bool:
    return isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None
