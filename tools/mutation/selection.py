"""Which tests could notice a mutant, and in which order they are tried.

A mutant in a function is noticed by tests that run its lines. One outside a function (a constant, a
table, a field of a Struct), or in a function that runs while modules are imported, is noticed by
tests that run a function which uses the name it defines: itself, or through other names that are
made of it. The tests of the module's own file come first, then quick ones; slow ones come last. All
of the own file are tried, and of others as many as BUDGET allows, because a mutant that survives
costs all of them. What only a later one would notice counts as survived.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from tools.mutation.changes import FUNCTIONS, Mutant, defined_names

SLOW = 0.5  # seconds of CPU time: after all others
BUDGET = 3.0  # seconds of CPU time for tests of other files, with the lines being counted

Lines = Mapping[str, frozenset[int]]  # by module


@dataclass(frozen=True)
class Measured:
    """What one test took and ran, without a mutant."""

    name: str
    seconds: float
    cpu: float
    lines: Lines

    @property
    def file(self) -> str:
        """Where it is defined."""
        return self.name.partition("::")[0]


@dataclass(frozen=True)
class _Unit:
    """A statement of a module: its names, and what uses others."""

    module: str
    defines: frozenset[str]
    uses: frozenset[str]  # while it is imported
    functions: tuple[tuple[frozenset[str], frozenset[int]], ...]  # what they use, and their lines


class Selection:
    """The tests of all mutants."""

    def __init__(
        self, tests: Iterable[Measured], at_import: Lines, sources: Mapping[str, str], root: Path
    ) -> None:
        self._tests = tuple(tests)
        self._at_import = at_import
        self._units = [
            unit for module, text in sources.items() for unit in _units(module, ast.parse(text))
        ]
        self._root = root
        self._of_line: dict[tuple[str, int], set[int]] = defaultdict(set)
        for number, test in enumerate(self._tests):
            for module, lines in test.lines.items():
                for line in lines:
                    self._of_line[module, line].add(number)

    def only_runs_in_tests(self, mutant: Mutant) -> bool:
        """Whether nothing that it changes has run before the first test."""
        return mutant.in_function and not mutant.lines & self._at_import.get(
            mutant.module, frozenset()
        )

    def tests(self, mutant: Mutant) -> list[Measured]:
        """The tests that could notice it, in their order."""
        found = self._running({(mutant.module, line) for line in mutant.lines})
        own = self.own_files(mutant.module)
        if not self.only_runs_in_tests(mutant):
            found |= self._running(self._users(mutant))
            found |= {number for number, test in enumerate(self._tests) if test.file in own}
        chosen = [self._tests[number] for number in sorted(found)]
        chosen.sort(key=lambda each: (each.cpu > SLOW, each.file not in own, each.cpu))
        spent = accumulate(0 if each.file in own else each.cpu for each in chosen)
        return [test for test, cpu in zip(chosen, spent, strict=True) if cpu <= BUDGET]

    def own_files(self, module: str) -> frozenset[str]:
        """tests/store/test_leases.py for store/leases.py; without one, those of its package."""
        folder, _, name = module.rpartition("/")
        own = "/".join(filter(None, ["tests", folder, f"test_{name}"]))
        if (self._root / own).exists():
            return frozenset([own])
        files = (each.file for each in self._tests)
        return frozenset(each for each in files if folder and each.startswith(f"tests/{folder}/"))

    def _running(self, lines: Iterable[tuple[str, int]]) -> set[int]:
        return {test for line in lines for test in self._of_line.get(line, ())}

    def _users(self, mutant: Mutant) -> set[tuple[str, int]]:
        names = set(mutant.defines)
        while True:
            more = {
                name for unit in self._units if unit.uses & names for name in unit.defines
            } - names
            if not more:
                break
            names |= more
        return {
            (unit.module, line)
            for unit in self._units
            for uses, lines in unit.functions
            if uses & names or unit.defines & mutant.defines
            for line in lines
        }


def _units(module: str, tree: ast.Module) -> Iterable[_Unit]:
    for statement in tree.body:
        bodies = [node for node in ast.walk(statement) if isinstance(node, FUNCTIONS)]
        inside = {id(each) for body in bodies for part in _body(body) for each in ast.walk(part)}
        yield _Unit(
            module,
            frozenset(defined_names(statement)),
            _used(node for node in ast.walk(statement) if id(node) not in inside),
            tuple((_used(ast.walk(body)), _body_lines(body)) for body in bodies),
        )


def _body(function: ast.AST) -> list[ast.AST]:
    body = getattr(function, "body", [])
    return body if isinstance(body, list) else [body]


def _body_lines(function: ast.AST) -> frozenset[int]:
    body = _body(function)
    first, last = getattr(body[0], "lineno", 0), getattr(body[-1], "end_lineno", 0)
    return frozenset(range(first, last + 1))


def _used(nodes: Iterable[ast.AST]) -> frozenset[str]:
    names = set()
    for node in nodes:
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    return frozenset(names)
