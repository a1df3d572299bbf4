"""Hashes of the code a script really uses: the script and every local module it imports.

Snakemake looks only at the script's own modification time, so an edited helper would go
unnoticed and a fresh clone would retrain everything. These hashes are a parameter of every rule
instead: they follow imports and ignore comments, docstrings, spacing and positions.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

# Modules whose work never reaches an output: messages, progress, locks, copies that hold the bytes
# of the original. Rewording a message must not retrain a model.
WITHOUT_EFFECT = {
    "job",
    "headstability.errors",
    "headstability.liveness",
    "headstability.node",
    "headstability.progress",
}
# Fields that differ between Python versions or hold no code.
_SKIPPED_FIELDS = {"ctx", "kind", "type_comment", "type_ignores"}


def code_hashes(script: str | Path) -> dict[str, str]:
    """Hashes of a script and of the local modules it imports, directly or through others.

    Args:
        script: path of a script; local modules are looked for in its folder.

    Returns:
        A hash of 16 hex digits by module name, the script's own under its stem.
    """
    script = Path(script)
    root = script.parent
    found: dict[str, str] = {}
    waiting = [(script.stem, script)]
    while waiting:
        name, path = waiting.pop()
        if name in found:
            continue
        found[name], imports = _read(path, name, _stamp(path))
        for imported in imports:
            waiting += [item for item in _local(imported, root) if item[0] not in WITHOUT_EFFECT]
    return found


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file does, so that what was read of it can be kept between rules."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@cache
def _read(path: Path, name: str, stamp: tuple[int, int]) -> tuple[str, list[str]]:
    """The hash of a file's code, and the dotted names it imports."""
    del stamp  # only tells versions of the file apart
    tree = ast.parse(path.read_bytes(), filename=str(path))
    return hashlib.sha256(_dump(tree).encode()).hexdigest()[:16], sorted(_imports(tree, path, name))


def _local(module: str, root: Path) -> list[tuple[str, Path]]:
    """The files that importing `module` runs, packages' __init__ included; [] if not local."""
    found = []
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:depth])
        name = ".".join(parts[:depth])
        if (base / "__init__.py").is_file():
            found.append((name, base / "__init__.py"))
        elif base.with_suffix(".py").is_file():
            found.append((name, base.with_suffix(".py")))
    return found


def _imports(tree: ast.Module, path: Path, name: str) -> set[str]:
    """Dotted names a file imports, wherever the statement stands, relative ones resolved."""
    names: set[str] = set()
    is_package = path.name == "__init__.py"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if is_package else name.split(".")[:-1]
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, base] if base else package)
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


def _dump(node: object) -> str:
    """Like ast.dump, the same on every Python this project supports, without docstrings."""
    if isinstance(node, ast.AST):
        fields = []
        for field, value in ast.iter_fields(node):
            if field == "body" and _has_docstring(node):
                value = value[1:]
            if field in _SKIPPED_FIELDS or value == [] or value is None:
                continue
            fields.append(f"{field}={_dump(value)}")
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(_dump(item) for item in node)}]"
    return repr(node)


def _has_docstring(node: ast.AST) -> bool:
    kinds = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None
