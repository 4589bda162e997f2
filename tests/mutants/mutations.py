"""Small changes to a module's source, each of which a test ought to notice.

What changes nothing that a test could see is left out: docstrings, annotations,
``__slots__``, texts, imports, assertions and ``__repr__``.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_COMPARED = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}
_REPLACED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.And: ast.Or, ast.Or: ast.And, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}
_EXTREMES = {"min": "max", "max": "min"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Mutation:
    """One change to a tree: ``apply`` makes it, in place; ``key`` stays the same when lines move."""

    key: str
    line: int
    function: tuple[str, int] | None  # outermost function whose body it is in: qualified name, first line of its code
    apply: Callable[[], None]


def mutations(tree: ast.Module) -> list[Mutation]:
    """All changes to *tree*, in the order of the source."""
    found, seen = [], Counter[str]()
    for name, line, function, what, apply in _Walk().module(tree):
        key = f"{name}: {what}"
        seen[key] += 1
        found.append(Mutation(key if seen[key] == 1 else f"{key} #{seen[key]}", line, function, apply))
    return found


class _Walk:
    def __init__(self) -> None:
        self._names: list[str] = []
        self._function: tuple[str, int] | None = None

    def module(self, tree: ast.Module) -> Iterator[tuple]:
        yield from self._block(tree.body)

    def _block(self, body: list[ast.stmt]) -> Iterator[tuple]:
        for at, statement in enumerate(body):
            if not _is_left_out(statement):
                yield from self._statement(body, at, statement)

    def _statement(self, body: list[ast.stmt], at: int, node: ast.stmt) -> Iterator[tuple]:
        if isinstance(node, (ast.ClassDef, *_FUNCTIONS)):
            yield from self._definition(node)
            return
        if _is_removable(node):
            yield self._found(node, f"{_text(node)} => pass",
                              lambda: body.__setitem__(at, ast.copy_location(ast.Pass(), node)))
        if isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
            yield self._found(node, f"{_text(node)} => return None",
                              lambda: setattr(node, "value", ast.copy_location(ast.Constant(None), node)))
        yield from self._children(node)

    def _definition(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple]:
        if node.name in ("__repr__", "__str__"):
            return
        outer = self._function
        self._names.append(node.name)
        if isinstance(node, _FUNCTIONS):
            for default in [*node.args.defaults, *node.args.kw_defaults]:
                if default is not None:
                    yield from self._expression(default)
            if outer is None:
                first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
                self._function = ".".join(self._names), first
        yield from self._block(node.body)
        self._function = outer
        self._names.pop()

    def _children(self, node: ast.AST) -> Iterator[tuple]:
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "msg", "type_comment"):
                continue
            if field in ("body", "orelse", "finalbody") and isinstance(value, list):
                yield from self._block(value)
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.expr):
                    if field == "test":
                        yield from self._condition(node, child)
                    yield from self._expression(child)
                elif isinstance(child, ast.AST):
                    yield from self._children(child)

    def _condition(self, node: ast.AST, test: ast.expr) -> Iterator[tuple]:
        if isinstance(test, (ast.Name, ast.Attribute, ast.Call)):
            negated = ast.copy_location(ast.UnaryOp(ast.Not(), test), test)
            yield self._found(test, f"if {_text(test)} => if not {_text(test)}",
                              lambda: setattr(node, "test", negated))

    def _expression(self, node: ast.expr) -> Iterator[tuple]:
        match node:
            case ast.Compare():
                for at, op in enumerate(node.ops):
                    for new in _COMPARED[type(op)]:
                        yield self._changed(node, lambda at=at, new=new: node.ops.__setitem__(at, new()))
            case ast.BoolOp() | ast.BinOp() if type(node.op) in _REPLACED:
                yield self._changed(node, lambda: setattr(node, "op", _REPLACED[type(node.op)]()))
            case ast.UnaryOp(op=ast.Not()):
                yield self._changed(node, lambda: setattr(node, "operand", ast.copy_location(
                    ast.UnaryOp(ast.Not(), node.operand), node)))
            case ast.UnaryOp(op=ast.USub()):
                yield self._changed(node, lambda: setattr(node, "op", ast.UAdd()))
            case ast.Constant(value=bool(was)):
                yield self._found(node, f"{was} => {not was}", lambda: setattr(node, "value", not was))
            case ast.Constant(value=int() | float() as was):
                for new in (was + 1, was - 1) if isinstance(was, int) else (was + 1,):
                    yield self._found(node, f"{was} => {new}", lambda new=new: setattr(node, "value", new))
            case ast.Call(func=ast.Name(id="min" | "max" as name)):
                yield self._changed(node, lambda: setattr(node.func, "id", _EXTREMES[name]))
        yield from self._children(node)

    def _changed(self, node: ast.expr, apply: Callable[[], object]) -> tuple:
        """Tell a change by the text before and after it."""
        before = _text(node)
        kept = {field: list(value) if isinstance(value, list) else value for field, value in ast.iter_fields(node)}
        name = getattr(kept.get("func"), "id", None)
        apply()
        after = _text(node)
        for field, value in kept.items():
            setattr(node, field, value)
        if name is not None:
            node.func.id = name
        return self._found(node, f"{before} => {after}", apply)

    def _found(self, node: ast.AST, what: str, apply: Callable[[], object]) -> tuple:
        return ".".join(self._names) or "<module>", node.lineno, self._function, what, apply


def _is_left_out(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.Assert() | ast.Pass():
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name(id="__slots__" | "__all__")]):
            return True
    return False


def _is_removable(node: ast.stmt) -> bool:
    match node:
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Break() | ast.Continue() | ast.Delete():
            return True
        case ast.Assign():
            return any(isinstance(part, (ast.Attribute, ast.Subscript))
                       for target in node.targets for part in ast.walk(target))
        case ast.AnnAssign(target=ast.Attribute()):
            return node.value is not None
    return False


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(ast.fix_missing_locations(node)).split())
