"""The house rules of docs/design.md: layers, sizes, names, imports, language. Exceptions are listed with a reason."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "burnish"

# A line may import any line below it; rooms on one line never import each other.
LAYERS = (
    ("cli",),
    ("microworld",),
    ("recipes",),
    ("train", "evaluate", "synth"),
    ("verify", "judge", "annotate", "curate", "merge", "report"),
    ("llm", "losses"),
    ("models", "chat", "runs"),
    ("protocols",),
    ("records",),
    ("errors",),
)
LEVEL = {room: len(LAYERS) - i for i, line in enumerate(LAYERS) for room in line}
TORCH_ROOMS = {"losses", "models", "merge", "train", "microworld"}
TORCH_FILES = {"judge/reward_model.py"}
LIGHT_ROOMS = ("records", "runs", "chat", "verify", "annotate", "curate", "report", "evaluate", "recipes")
HEAVY = {"torch", "transformers", "pyarrow", "ray", "vllm", "numpy", "tokenizers", "safetensors"}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "base", "core", "manager", "util", "helper"}

# path or path:function -> reason. Keep it short.
EXCEPTIONS: dict[str, str] = {
    "microworld/base": "the folder of the shipped base model's weights, not a module",
    "models/kernels.py:_norms": "a Triton kernel takes its pointers and sizes by position",
    "models/kernels.py:_gradient": "a Triton kernel takes its pointers and sizes by position",
    "runs/compute.py imports torch": "asks whether there is a CUDA device, inside the function that resolves `auto`",
    "runs/workers.py imports torch": "sets torch's thread count in a process that computes",
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST, path: Path) -> Iterator[tuple[str, ast.stmt]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}:{node.lineno} uses a relative import"
            yield node.module or "", node
            if node.module == "burnish":
                yield from ((f"burnish.{alias.name}", node) for alias in node.names)


def type_checking(tree: ast.Module) -> set[ast.stmt]:
    found: set[ast.stmt] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            found |= {inner for inner in ast.walk(node) if isinstance(inner, ast.stmt)}
    return found


@pytest.mark.parametrize("path", modules(), ids=name)
def test_imports_go_down(path: Path) -> None:
    tree = ast.parse(path.read_text())
    here = room(path)
    if here == "__init__" or path.stem == "__main__":  # an entry stands above all of it
        return
    for target, node in imports(tree, path):
        if not target.startswith("burnish."):
            continue
        there = target.split(".")[1]
        if there == here or there == "__version__":
            continue
        assert LEVEL[there] < LEVEL[here], f"{name(path)}:{node.lineno}: {here} must not import {there}"
        assert not (here == "recipes" and there == "microworld")


@pytest.mark.parametrize("path", modules(), ids=name)
def test_heavy_imports_stay_in_their_rooms(path: Path) -> None:
    tree = ast.parse(path.read_text())
    aside = type_checking(tree)
    inside = {n for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)}
    for target, node in imports(tree, path):
        top = target.split(".")[0]
        if node in aside:
            continue
        if top in ("torch", "transformers") and f"{name(path)} imports torch" not in EXCEPTIONS:
            may = room(path) in TORCH_ROOMS or name(path) in TORCH_FILES or name(path).startswith("llm/local")
            assert may, f"{name(path)}:{node.lineno}: {top} does not belong in {room(path)}"
        if node in inside and top not in HEAVY and room(path) != "cli" and "cli" not in path.parts:
            parts = set(target.split("."))
            lazy = top in ("burnish",) and (parts & TORCH_ROOMS or parts > {"llm", "local"})
            allowed = lazy or top not in {"burnish"}
            assert allowed or room(path) == "recipes", (
                f"{name(path)}:{node.lineno}: import of {target} inside a function"
            )


@pytest.mark.parametrize("path", modules(), ids=name)
def test_sizes(path: Path) -> None:
    text = path.read_text()
    if name(path) not in EXCEPTIONS:
        assert text.count("\n") <= 400, f"{name(path)} has {text.count(chr(10))} lines; split it"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            where = f"{name(path)}:{node.name}"
            if where in EXCEPTIONS:
                continue
            assert length <= 60, f"{where} has {length} lines"
            positional = [a.arg for a in node.args.posonlyargs + node.args.args if a.arg not in ("self", "cls")]
            assert len(positional) <= 6, f"{where} takes {len(positional)} positional parameters"


def test_folders_hold_at_most_twelve_modules() -> None:
    for folder in {path.parent for path in modules()}:
        count = len([p for p in folder.glob("*.py") if p.name != "__init__.py"])
        assert count <= 12, f"{folder.relative_to(ROOT)} holds {count} modules"


def test_names_say_what_is_inside() -> None:
    for path in [*modules(), *(p for p in PACKAGE.rglob("*") if p.is_dir() and p.name != "__pycache__")]:
        if name(path) not in EXCEPTIONS and not name(path).startswith("microworld/base"):
            assert path.name.removesuffix(".py") not in FORBIDDEN_NAMES, name(path)


def test_recipes_are_short_and_stand_alone() -> None:
    for path in (PACKAGE / "recipes").glob("*.py"):
        text = path.read_text()
        assert text.count("\n") <= 300, f"{name(path)} has {text.count(chr(10))} lines"
        if path.name != "__init__.py":
            others = [t for t, _ in imports(ast.parse(text), path) if t.startswith("burnish.recipes")]
            assert not others, f"{name(path)} imports another recipe: {others}"


def test_rooms_have_a_docstring_and_a_true_public_list() -> None:
    for path in sorted(PACKAGE.glob("*/__init__.py")):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), f"{name(path)} does not say what comes in and what goes out"
        listed = [n for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"]
        if listed:
            names = ast.literal_eval(listed[0].value)
            defined = {
                alias.asname or alias.name for n in tree.body if isinstance(n, ast.ImportFrom) for alias in n.names
            }
            defined |= {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
            defined |= {ast.unparse(t) for n in tree.body if isinstance(n, ast.Assign) for t in n.targets}
            defined |= {n.target.id for n in tree.body if isinstance(n, ast.AnnAssign)}
            assert set(names) <= defined, f"{name(path)} lists {set(names) - defined}"


def test_the_data_half_imports_without_torch() -> None:
    rooms = ", ".join(f"burnish.{room}" for room in LIGHT_ROOMS if (PACKAGE / room / "__init__.py").exists())
    code = f"import sys; import {rooms}; sys.exit(int('torch' in sys.modules or 'transformers' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_help_answers_quickly() -> None:
    """Median of five below 0.4 s (docs/design.md); measured as a whole process."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "burnish", "--help"], capture_output=True, text=True)
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0 and "run" in done.stdout
    assert sorted(seconds)[2] < 0.4, seconds


AMERICAN = re.compile(
    r"\b(normaliz|tokeniz(e|ed|es|ing|ation)\b|initializ|serializ|behavior|optimiz(e|ed|es|ing|er|ation)\b|summariz)",
    re.I,
)


@pytest.mark.parametrize("path", [*modules(), *sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"], ids=str)
def test_british_spelling_in_prose(path: Path) -> None:
    """Docstrings, comments and documents; identifiers of other libraries keep their spelling."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        prose = line if path.suffix == ".md" else " ".join((re.findall(r'"""(.*)|#\s(.*)', line) and [line]) or [])
        prose = re.sub(r"`[^`]*`|\w+[._(/]\w*|\w*_\w+", "", prose)
        assert not AMERICAN.search(prose), f"{path.name}:{number}: {line.strip()}"
