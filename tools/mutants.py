"""Mutation tests: changes `src` in one place at a time, and lists the changes that no test notices.

    python -m tools.mutants                      all modules
    python -m tools.mutants src/relay.py         one
    python -m tools.mutants src/relay.py --only "_ended"   the mutants whose name has that text

A mutant replaces a comparison, a boolean, a number, a text or an operator, negates a condition, or
leaves out a statement. For each, the tests of its module run in a process of its own, forked from
one that has imported everything but `src`; for those that survive, the wider tests run too
(`WIDER`). A mutant that takes many times as long as the tests is counted as noticed.

Mutants that change no behaviour are listed in tools/equivalent_mutants.toml, with the reason; an
entry that matches no mutant is an error. The order and the names of mutants are the same each time.
Exits with 1 if any other one survives.
"""

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
EQUIVALENT = ROOT / "tools" / "equivalent_mutants.toml"

# The tests of a module beside its own (tests/store/test_leases.py for src/store/leases.py).
WIDER = ("tests/test_turn.py", "tests/test_handler.py", "tests/test_relay.py",
         "tests/test_round_trips.py", "tests/test_metrics.py", "tests/store", "tests/wire",
         "tests/families", "tests/test_sequences.py")  # fmt: skip
TESTS: Mapping[str, Sequence[str]] = {
    "families/shapes.py": ("tests/families",),
    "families/templates.py": ("tests/families",),
    "families/chunks.py": ("tests/families",),
    "families/registry.py": ("tests/families",),
    "families/types.py": ("tests/families",),
    "store/budget.py": ("tests/store",),
    "store/lease_writes.py": ("tests/store/test_leases.py",),
    "turn.py": ("tests/test_handler.py",),
    "errors.py": ("tests/test_handler.py",),
    "validation.py": ("tests/wire",),
    "services.py": ("tests/test_settings.py", "tests/test_handler.py"),
}
# Imported before the first fork: what the tests import beside `src`.
PRELOAD = ("aiohttp.web", "boto3", "botocore.eventstream", "hypothesis.stateful", "jsonschema",
           "moto", "moto.dynamodb", "msgspec", "xdist.scheduler")  # fmt: skip
# The plugins are imported already, which would be a warning.
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
SECONDS = 60.0  # for one run of the tests, at least
SLOWER = 5  # times as long as without a mutant

COMPARISONS: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: Mapping[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}


@dataclass(frozen=True)
class Mutant:
    """One change of a module. `name` stays the same where only other lines change."""

    module: str  # relative to `src`
    line: int
    name: str
    source: str


# -- making them -----------------------------------------------------------------------------------


def mutants(module: str, text: str) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    tree = ast.parse(text)
    found: list[Mutant] = []
    names: Counter[str] = Counter()
    for path, node, scope in _nodes(tree):
        for replacement in _replacements(node):
            changed = _replaced(tree, path, replacement)
            name = f"{scope}: {_text(node)} -> {_text(replacement)}"
            names[name] += 1
            if names[name] > 1:
                name += f" ({names[name]})"
            found.append(Mutant(module, getattr(node, "lineno", 0), name, ast.unparse(changed)))
    return found


Path_ = tuple[tuple[str, int | None], ...]


def _nodes(tree: ast.AST) -> Iterator[tuple[Path_, ast.AST, str]]:
    """Every node that may be changed, with the way to it and the name of its function."""

    def walk(node: ast.AST, path: Path_, scope: str) -> Iterator[tuple[Path_, ast.AST, str]]:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            scope = f"{scope}.{node.name}".removeprefix("module.")
        if path:
            yield path, node, scope
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "type_params", "decorator_list"):
                continue
            if isinstance(value, ast.AST):
                yield from walk(value, (*path, (name, None)), scope)
            elif isinstance(value, list):
                for number, each in enumerate(value):
                    if isinstance(each, ast.AST) and not _ignored(node, each):
                        yield from walk(each, (*path, (name, number)), scope)

    yield from walk(tree, (), "module")


def _ignored(parent: ast.AST, node: ast.AST) -> bool:
    """Docstrings, imports, and what is for the type checker alone."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return True
    return isinstance(parent, ast.JoinedStr) and isinstance(node, ast.Constant)


def _replacements(node: ast.AST) -> Iterator[ast.AST]:  # noqa: C901, PLR0912 - a table of cases
    match node:
        case ast.Compare(left=left, ops=[op, *ops], comparators=right):
            yield ast.Compare(left, [COMPARISONS[type(op)](), *ops], right)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            yield ast.BinOp(left, OPERATORS[type(op)](), right)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str() as value):
            yield ast.Constant(f"{value}X" if value else "X")
        case ast.If(test=test) | ast.While(test=test) if not _simple(test):
            changed = copy.copy(node)
            changed.test = ast.UnaryOp(ast.Not(), test)
            yield changed
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield ast.Return(ast.Constant(None))
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Delete():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()


def _simple(test: ast.expr) -> bool:
    """Whether another mutant already negates it."""
    return isinstance(test, ast.Compare | ast.UnaryOp | ast.Constant)


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _replaced(tree: ast.Module, path: Path_, replacement: ast.AST) -> ast.Module:
    """A copy of the tree with another node at the end of `path`."""
    root = copy.copy(tree)
    node: Any = root
    for name, number in path[:-1]:
        child = getattr(node, name)
        if number is None:
            twin = copy.copy(child)
            setattr(node, name, twin)
        else:
            twin = copy.copy(child[number])
            setattr(node, name, [*child[:number], twin, *child[number + 1 :]])
        node = twin
    name, number = path[-1]
    if number is None:
        setattr(node, name, replacement)
    else:
        children = getattr(node, name)
        setattr(node, name, [*children[:number], replacement, *children[number + 1 :]])
    return ast.fix_missing_locations(root)


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.If | ast.While):
        return f"if {ast.unparse(node.test)}"
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:87]}..."


# -- trying them -----------------------------------------------------------------------------------


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module of `src` from another text."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._name = mutant.module.removesuffix(".py").replace("/", ".")

    def find_spec(self, name: str, *_: Any) -> Any:
        if name != self._name:
            return None
        file = str(SOURCE / self._mutant.module)
        return importlib.util.spec_from_file_location(name, file, loader=self)

    def exec_module(self, module: Any) -> None:
        code = compile(self._mutant.source, str(SOURCE / self._mutant.module), "exec")
        exec(code, vars(module))  # noqa: S102 - this is what a mutant is


def _passes(mutant: Mutant | None, tests: Sequence[str], seconds: float) -> bool:
    """Whether the tests pass with this mutant, in a process forked for it."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os._exit(_run(mutant, tests))
    deadline = time.monotonic() + seconds
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(ended[1]) == 0


def _run(mutant: Mutant | None, tests: Sequence[str]) -> int:
    try:
        silent = os.open(os.devnull, os.O_RDWR)
        for each in (0, 1, 2):
            os.dup2(silent, each)
        if mutant:
            sys.meta_path.insert(0, _Finder(mutant))
        import pytest  # noqa: PLC0415 - in the child: the parent has imported it

        return int(pytest.main([*OPTIONS, *tests]))
    except BaseException:  # noqa: BLE001 - it must not continue as the parent process
        return 1


def own_tests(module: str) -> list[str]:
    """The tests that belong to a module."""
    folder, _, name = module.rpartition("/")
    own = ROOT / "tests" / folder / f"test_{name}"
    paths = [str(own.relative_to(ROOT))] if own.exists() else []
    return list(dict.fromkeys([*paths, *TESTS.get(module, ())]))


def survivors(
    found: Sequence[Mutant], tests: Sequence[str], jobs: int, report: Callable[[str], None]
) -> list[Mutant]:
    """The mutants with which the tests pass."""
    began = time.monotonic()
    if not _passes(None, tests, 10 * SECONDS):
        raise SystemExit(f"the tests fail without a mutant: {' '.join(tests)}")
    seconds = max(SECONDS, SLOWER * (time.monotonic() - began))
    with ThreadPoolExecutor(jobs) as pool:
        passing = list(pool.map(lambda each: _passes(each, tests, seconds), found))
    left = [mutant for mutant, passed in zip(found, passing, strict=True) if passed]
    report(f"  {len(found) - len(left)} of {len(found)} noticed by {' '.join(tests)}, "
           f"{time.monotonic() - began:.0f} s")  # fmt: skip
    return left


# -- the whole -------------------------------------------------------------------------------------


def equivalents(text: str) -> dict[str, dict[str, str]]:
    """The reasons of equivalent mutants: by module, then by name."""
    found: dict[str, dict[str, str]] = {}
    for entry in tomllib.loads(text).get("mutant", []):
        found.setdefault(entry["module"], {})[entry["name"]] = entry["reason"]
    return found


def preload() -> None:
    """Imports what all children need; from then on they are forked."""
    os.chdir(ROOT)
    for each in ("pytest", *PRELOAD):
        importlib.import_module(each)


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line. Returns 1 if a mutant survives that is not listed as equivalent."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.mutants", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("modules", nargs="*", type=Path, help="files of src; default: all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="mutants whose name contains this text")
    parser.add_argument("--list", action="store_true", help="list the mutants, run nothing")
    given = parser.parse_args(arguments)
    files = [path.resolve() for path in given.modules] or sorted(SOURCE.rglob("*.py"))
    known = equivalents(EQUIVALENT.read_text())
    alive, total, unknown = 0, 0, 0
    if not given.list:
        preload()
    for file in files:
        module = str(file.relative_to(SOURCE))
        made = [each for each in mutants(module, file.read_text()) if given.only in each.name]
        reasons = known.get(module, {})
        stale = set() if given.only else set(reasons) - {each.name for each in made}
        unknown += len(stale)
        for name in sorted(stale):
            _say(f"  no such mutant any more: {module}: {name}")
        found = [each for each in made if each.name not in reasons]
        _say(f"src/{module}: {len(found)} mutants, {len(made) - len(found)} equivalent")
        if given.list:
            for each in found:
                _say(f"  {each.line}: {each.name}")
            continue
        left, tests = found, own_tests(module)
        if left and tests:
            left = survivors(left, tests, given.jobs, _say)
        wider = [path for path in WIDER if (ROOT / path).exists() and path not in tests]
        if left:
            left = survivors(left, wider, given.jobs, _say)
        for each in left:
            _say(f"  SURVIVES line {each.line}: {each.name}")
        alive, total = alive + len(left), total + len(found)
    if total:
        _say(f"{total - alive} of {total} noticed ({100 * (total - alive) / total:.1f} %)")
    return int(bool(alive or unknown))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
