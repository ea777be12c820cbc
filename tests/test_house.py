"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import skyloom

REPO = Path(__file__).parents[1]
SOURCE = REPO / "src"
MODULES = sorted((SOURCE / "skyloom").rglob("*.py"))
PACKAGES = [path for path in MODULES if path.name == "__init__.py"]

CODE_ON_LOAD = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
COPYLEFT = {"astrometry", "fitsio", "healsparse", "ngmix", "tractor"}
LONGEST_FILE = 600  # lines; beyond it a file usually hides a second subject
LONGEST_FUNCTION = 90  # lines; a screen


def name(path: Path) -> str:
    """Return a path below src, as pytest ids show it."""
    return path.relative_to(SOURCE).as_posix()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_roots(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the first part of every absolute import and its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0], node.lineno


def public_names(tree: ast.Module) -> set[str]:
    """Names that a package's ``__init__`` defines or takes from its own modules."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            is_own = node.level > 0 or (node.module or "").split(".")[0] == "skyloom"
            names |= {a.asname or a.name for a in node.names} if is_own else set()
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {n for n in names if not n.startswith("_") and n != "log"}


@pytest.mark.parametrize("path", PACKAGES, ids=name)
def test_a_package_exports_what_it_lists(path: Path) -> None:
    dotted = name(path.parent).replace("/", ".")
    package = importlib.import_module(dotted)
    listed = package.__all__
    assert len(set(listed)) == len(listed)
    assert [n for n in listed if not hasattr(package, n)] == []
    assert {n for n in listed if not n.startswith("__")} == public_names(parse(path))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_exports_names_that_exist(path: Path) -> None:
    dotted = name(path.with_suffix("")).replace("/", ".").removesuffix(".__init__")
    if dotted.endswith("__main__"):
        return
    module = importlib.import_module(dotted)
    assert [n for n in getattr(module, "__all__", []) if not hasattr(module, n)] == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_file_format_runs_code_and_no_copyleft_is_imported(path: Path) -> None:
    tree = parse(path)
    found = [
        f"{root}, line {line}"
        for root, line in imported_roots(tree)
        if root in CODE_ON_LOAD | COPYLEFT
    ]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in {"eval", "exec", "os.system", "yaml.load", "yaml.unsafe_load"}:
            found.append(f"{called}, line {node.lineno}")
        for keyword in node.keywords:
            is_true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            if keyword.arg in {"allow_pickle", "shell"} and is_true:
                found.append(f"{keyword.arg}=True, line {node.lineno}")
    assert found == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_files_and_functions_have_one_subject(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_FILE
    for node in ast.walk(parse(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} is {length} lines long"


def test_the_version_is_written_alike_everywhere() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == skyloom.__version__
    changes = (REPO / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {skyloom.__version__}" in changes


def test_readme_names_the_two_commands() -> None:
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    for command in ("make demo", "make test"):
        assert command in readme


def test_test_modules_have_unique_names() -> None:
    names = [path.name for path in (REPO / "tests").rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)


def test_reading_a_configuration_needs_no_heavy_package() -> None:
    """A mistake in the YAML file should be answered at once."""
    heavy = "{'numba', 'scipy', 'astropy', 'matplotlib'}"
    code = f"import sys, skyloom.config; print(*{heavy} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
