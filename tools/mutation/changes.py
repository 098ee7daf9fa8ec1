"""Which mutants a module has. The order and the names are the same each time.

A mutant replaces a comparison, a boolean, a number, a text or an operator, negates a condition,
returns None, leaves out a statement, or exchanges `break` and `continue`: in functions, in classes
and in default arguments. Not changed, because a test of it would only repeat it: docstrings,
imports, annotations, what is for the type checker, and the wording for people (`_is_wording`).
"""

import ast
import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

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
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
# Wording has this many words, and none of the characters of expressions, patterns and templates.
WORDS = 3
SYNTAX = frozenset("=_\\[]{}()<>|#\n")

Way = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Mutant:
    """One change of a module. `name` stays the same where only other lines change."""

    module: str  # relative to `src`
    line: int
    name: str
    lines: frozenset[int]  # a test that runs none of these does not notice the mutant
    defines: frozenset[str]  # the names that the change is a part of
    in_function: bool
    tree: ast.Module = field(compare=False, repr=False)


@dataclass(frozen=True)
class _Place:
    way: Way
    node: ast.AST
    scope: str
    statement: ast.stmt
    in_function: bool


def mutants(module: str, text: str) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    tree = ast.parse(text)
    found: list[Mutant] = []
    names: Counter[str] = Counter()
    for place in _places(tree):
        for replacement in _replacements(place.node):
            name = f"{place.scope}: {_text(place.node)} -> {_text(replacement)}"
            names[name] += 1
            if names[name] > 1:
                name += f" ({names[name]})"
            ast.fix_missing_locations(ast.copy_location(replacement, place.node))
            changed = _replaced(tree, place.way, replacement)
            top = tree.body[place.way[0][1] or 0]
            found.append(
                Mutant(
                    module,
                    getattr(place.node, "lineno", 0),
                    name,
                    _lines(place.statement) | _lines(place.node),
                    frozenset({*defined_names(top), *place.scope.split(".")} - {"module"}),
                    place.in_function,
                    changed,
                )
            )
    return found


def defined_names(statement: ast.stmt) -> Iterator[str]:
    """What a statement of a module defines."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


def _lines(node: ast.AST) -> frozenset[int]:
    """The lines of a node, without those of the statements inside it."""
    first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
    body = getattr(node, "body", None)
    if isinstance(node, ast.Match):
        last = node.subject.end_lineno
    elif isinstance(body, list) and body:
        last = max(first, body[0].lineno - 1)
    return frozenset(range(first, last + 1))


def _places(tree: ast.Module) -> Iterator[_Place]:
    """Every node that may be changed, with the way to it and the name of its function."""

    def walk(at: _Place) -> Iterator[_Place]:
        node, scope, statement = at.node, at.scope, at.statement
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            scope = f"{scope}.{node.name}".removeprefix("module.")
        if isinstance(node, ast.stmt):
            statement = node
        if at.way:
            yield _Place(at.way, node, scope, statement, at.in_function)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "type_params", "decorator_list"):
                continue
            inside = at.in_function or (isinstance(node, FUNCTIONS) and name == "body")
            children: list[tuple[int | None, Any]] = [(None, value)]
            if isinstance(value, list):
                children = list(enumerate(value))
            for number, each in children:
                if isinstance(each, ast.AST) and not _ignored(node, each):
                    way = (*at.way, (name, number))
                    yield from walk(_Place(way, each, scope, statement, inside))

    yield from walk(_Place((), tree, "module", ast.Pass(), in_function=False))


def _ignored(parent: ast.AST, node: ast.AST) -> bool:
    """Docstrings, imports, wording, and what is for the type checker alone."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.If(test=test):
            return "TYPE_CHECKING" in ast.unparse(test)
        case ast.keyword(arg="description" | "kw_only"):  # the latter: how code may be written
            return True
        case ast.Constant(value=str() as text):
            return isinstance(parent, ast.JoinedStr) or _is_wording(text)
    return False


def _is_wording(text: str) -> bool:
    """Sentences of errors and descriptions: WORDS words or more, and nothing that is syntax."""
    return len(text.split()) >= WORDS and not SYNTAX & set(text)


def _replacements(node: ast.AST) -> Iterator[ast.AST]:  # noqa: C901, PLR0912 - a table of cases
    match node:
        case ast.Compare(left=left, ops=[op, *ops], comparators=right):
            yield ast.Compare(left, [COMPARISONS[type(op)](), *ops], right)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield copy.copy(operand)
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
        case ast.Return(value=value) if value is not None and not _is_falsy(value):
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


def _is_falsy(value: ast.expr) -> bool:
    """A constant as good as None where only its truth counts; mypy refuses None for it."""
    return isinstance(value, ast.Constant) and not value.value


def _replaced(tree: ast.Module, way: Way, replacement: ast.AST) -> ast.Module:
    """A copy of the tree with another node at the end of the way; it shares all other nodes."""
    root = copy.copy(tree)
    node: Any = root
    for position, (name, number) in enumerate(way):
        child = getattr(node, name) if number is None else getattr(node, name)[number]
        twin = replacement if position == len(way) - 1 else copy.copy(child)
        if number is None:
            setattr(node, name, twin)
        else:
            children = getattr(node, name)
            setattr(node, name, [*children[:number], twin, *children[number + 1 :]])
        node = twin
    return root


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.If | ast.While):
        return f"if {ast.unparse(node.test)}"
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:87]}..."
