"""Who may import whom, and what no file may contain. Reads the sources with `ast`; nothing is imported.

The table below is the architecture. A new folder or top-level module has to be added to it on purpose.
"""

import ast
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "gemma_tool_use"

BASE = {"bfcl_files", "conversation", "errors", "gguf_file", "heap", "visible"}
"""Level 0: may be imported by everybody."""

MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "bfcl_files": BASE,
    "conversation": BASE,
    "errors": BASE,
    "gguf_file": BASE,
    "heap": BASE,
    "visible": BASE,
    # Only commands import these three, so they appear on no right-hand side but each other's.
    "settings": BASE,
    "commands": BASE,
    "flag_values": BASE,
    "flags": {*BASE, "flag_values"},
    "formats": BASE,
    "models": BASE,
    "pages": BASE,
    "data": {*BASE, "formats", "pages"},
    "inference": {*BASE, "formats", "models"},
    "evaluation": {*BASE, "formats", "pages"},
    "export": {*BASE, "models"},
    "training": {*BASE, "data", "models", "formats"},
}

WITHOUT_JAX = {
    "bfcl_files",
    "conversation",
    "errors",
    "settings",
    "gguf_file",
    "heap",
    "commands",
    "flags",
    "flag_values",
    "formats",
    "pages",
    "visible",
}
JAX_LIBRARIES = {"jax", "jaxlib", "flax", "tunix", "qwix", "optax", "orbax"}
TURN_TAGS = ("<start_of_" + "turn>", "<end_of_" + "turn>", "<|im_" + "start|>")
MAX_LINES, TARGET_LINES = 400, 300
MAX_FUNCTION, TARGET_FUNCTION = 60, 40


def modules(root: Path = ROOT) -> dict[str, ast.Module]:
    """`{"gemma_tool_use.formats.dialect": <its syntax tree>}` for every file of the package."""
    result = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        result[name] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return result


def unit(module: str) -> str:
    """The row of the table: `gemma_tool_use.formats.dialect` is in `formats`."""
    return [*module.split("."), "__init__"][1]


def is_command(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


def imports(tree: ast.Module, known: set[str]) -> set[str]:
    """Every module that the file imports anywhere, also inside functions and under TYPE_CHECKING."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found |= {f"{base}.{a.name}" if f"{base}.{a.name}" in known else base for a in node.names}
    return found


def violations(trees: dict[str, ast.Module]) -> list[str]:
    """One line for each import that the table does not allow."""
    commands = {name for name, tree in trees.items() if is_command(tree)}
    problems = []
    for name, tree in trees.items():
        here = unit(name)
        if here not in MAY_IMPORT and name not in commands:
            problems.append(f"{name}: {here} is not in the table of tests/test_imports.py")
            continue
        for target in sorted(imports(tree, set(trees))):
            top = target.split(".")[0]
            if target.startswith("."):
                problems.append(f"{name}: relative import {target}, write {PACKAGE}...")
            elif top in JAX_LIBRARIES and here in WITHOUT_JAX and name not in commands:
                problems.append(f"{name}: imports {target}, but {here} works without JAX")
            elif target in commands:
                problems.append(f"{name}: imports the command {target}")
            elif top == PACKAGE and name not in commands:
                there = unit(target)
                if there not in ("__init__", here) and there not in MAY_IMPORT[here]:
                    problems.append(f"{name}: {here} may not import {there} ({target})")
    return problems


def dangers(tree: ast.Module) -> list[str]:
    """Ways to run a stranger's data as code: eval, exec, pickle, allow_pickle=True, unsafe YAML."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            owner = getattr(getattr(function, "value", None), "id", None)
            if name in ("eval", "exec") and (isinstance(function, ast.Name) or owner == "builtins"):
                found.append(f"line {node.lineno}: {name}(")
            if any(k.arg == "allow_pickle" and not _is_false(k.value) for k in node.keywords):
                found.append(f"line {node.lineno}: allow_pickle is not False")
            if owner == "yaml" and name in ("unsafe_load", "full_load"):
                found.append(f"line {node.lineno}: yaml.{name}")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
            found += [f"line {node.lineno}: {name}" for name in names & {"pickle", "cloudpickle", "dill", "joblib"}]
    return found


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def function_lengths(tree: ast.Module) -> dict[str, int]:
    """`{"parse": 23}`: lines of each function without its docstring and without functions inside it."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    def lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
        first, last = node.body[0], node.end_lineno or node.lineno
        docstring = (
            (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(node, clean=False) is not None else 0
        )
        return last - node.lineno + 1 - docstring

    return {node.name: lines(node) for node in functions}


def test_every_import_is_in_the_table():
    assert not violations(modules())


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("formats.bad", "import jax.numpy as jnp", "works without JAX"),
        ("formats.bad", "def f():\n    from tunix.sft import peft_trainer", "works without JAX"),
        ("formats.bad", "from gemma_tool_use.data import rows", "formats may not import data"),
        ("formats.bad", "from gemma_tool_use import settings", "formats may not import settings"),
        ("models.bad", "import gemma_tool_use.formats.dialect", "models may not import formats"),
        ("training.bad", "from gemma_tool_use.evaluation import score", "training may not import evaluation"),
        ("evaluation.bad", "from gemma_tool_use.inference import sampler", "evaluation may not import inference"),
        ("data.bad", "from gemma_tool_use.cmd import main", "imports the command gemma_tool_use.cmd"),
        ("data.bad", "from . import rows", "relative import"),
        ("newfolder.bad", "import os", "newfolder is not in the table"),
        ("errors", "from gemma_tool_use import flags", "errors may not import flags"),
    ],
)
def test_a_planted_bad_import_is_caught(module, source, complaint):
    planted = {
        "gemma_tool_use.settings": "",
        "gemma_tool_use.flags": "",
        "gemma_tool_use.cmd": "def main(argv=None):\n    from gemma_tool_use.training import fit\n    import jax",
        f"gemma_tool_use.{module}": source,
    }
    (problem,) = violations({name: ast.parse(text) for name, text in planted.items()})
    assert complaint in problem


def test_a_command_may_import_everything_but_another_command():
    texts = {"gemma_tool_use.data.go": "from gemma_tool_use import settings\ndef main(argv=None): import jax"}
    trees = {name: ast.parse(text) for name, text in {**texts, "gemma_tool_use.settings": ""}.items()}
    assert not violations(trees)
    trees["gemma_tool_use.again"] = ast.parse("import gemma_tool_use.data.go\ndef main(argv=None): pass")
    assert violations(trees) == ["gemma_tool_use.again: imports the command gemma_tool_use.data.go"]


def test_formats_load_without_jax_also_through_their_libraries():
    names = [name for name, tree in modules().items() if unit(name) in WITHOUT_JAX and not is_command(tree)]
    code = f"import importlib, sys\nfor n in {names}: importlib.import_module(n)\nprint('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr


def test_turn_tags_stand_in_formats_only():
    files = [path for path in (ROOT / PACKAGE).rglob("*.py") if path.parent.name != "formats"]
    assert files
    found = [
        f"{path.relative_to(ROOT)}: {tag}"
        for path in files
        for tag in TURN_TAGS
        if tag in path.read_text(encoding="utf-8")
    ]
    assert not found


def test_no_file_runs_data_as_code():
    found = {name: problems for name, tree in modules().items() if (problems := dangers(tree))}
    assert not found


@pytest.mark.parametrize(
    "planted",
    [
        "eval('1')",
        "exec('1')",
        "import builtins\nbuiltins.eval('1')",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "import pickle",
        "from pickle import loads",
        "yaml.unsafe_load(text)",
    ],
)
def test_planted_code_execution_is_caught(planted):
    assert dangers(ast.parse(planted))
    assert not dangers(ast.parse("model.eval()\nnp.load(path, allow_pickle=False)\nyaml.safe_load(text)"))


def test_files_and_functions_stay_short():
    too_long, long = [], []
    for name, tree in modules().items():
        lines = len((ROOT / Path(*name.split("."))).with_suffix(".py").read_text(encoding="utf-8").splitlines())
        sizes = [(name, lines, TARGET_LINES, MAX_LINES)]
        sizes += [(f"{name}.{f}", n, TARGET_FUNCTION, MAX_FUNCTION) for f, n in function_lengths(tree).items()]
        too_long += [f"{what}: {n} lines" for what, n, _, limit in sizes if n > limit]
        long += [f"{what}: {n} lines" for what, n, target, limit in sizes if target < n <= limit]
    if long:
        warnings.warn(f"longer than the target of {TARGET_LINES}/{TARGET_FUNCTION}: {', '.join(long)}", stacklevel=1)
    assert not too_long


def test_the_length_of_a_function_leaves_its_docstring_out():
    assert function_lengths(ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    a = 1\n    return a\n')) == {
        "f": 3
    }
