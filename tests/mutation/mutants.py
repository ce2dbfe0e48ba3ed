"""Mutants: single small changes to a module, each of which a test should notice.

A mutant replaces the text of one node of the syntax tree, so that the rest of the file keeps its lines and columns.
What no user sees is left alone: annotations, docstrings and other strings, log calls, ``__repr__``, declarations.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
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
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_CALLED = {"min": "max", "max": "min", "any": "all", "all": "any", "floor": "ceil", "ceil": "floor"}
_UNSEEN_FUNCTIONS = {"__repr__", "__str__", "_repr_html_"}
_UNSEEN_CALLS = {"debug", "info", "warning", "exception", "log", "error", "Field", "TypeVar", "cast"}


@dataclass(frozen=True)
class Mutant:
    """One change to one module.

    Attributes:
        line: Line of the change, from 1.
        function: Qualified name of the function it is in, ``<module>`` outside of any.
        change: The replaced text and its replacement, on one line.
        source: The whole module with the change.
    """

    line: int
    function: str
    change: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its lines; none that would not compile or would say the same."""
    tree = ast.parse(source)
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    data = source.encode()
    seen, unchanged = set[str](), ast.dump(tree)
    found = list[Mutant]()
    for node, replacement, function in _visit(tree, "<module>"):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        before = data[begin:end].decode()
        after = (data[:begin] + replacement.encode() + data[end:]).decode()
        if after not in seen and _compiles(after) and ast.dump(ast.parse(after)) != unchanged:
            seen.add(after)
            found.append(Mutant(node.lineno, function, f"{_on_one_line(before)} -> {_on_one_line(replacement)}", after))
    return sorted(found, key=lambda mutant: (mutant.line, mutant.change))


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


_Located = ast.expr | ast.stmt


def _visit(node: ast.AST, function: str) -> Iterator[tuple[_Located, str, str]]:
    """Yields each replaced node, its replacement, and the function around it."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        if node.name in _UNSEEN_FUNCTIONS or any("overload" in ast.unparse(each) for each in node.decorator_list):
            return
        function = node.name if function == "<module>" else f"{function}.{node.name}"
        inner: list[ast.AST] = [*node.body]
        if not isinstance(node, ast.ClassDef):
            inner += [default for default in (*node.args.defaults, *node.args.kw_defaults) if default is not None]
        for child in inner:
            yield from _visit(child, function)
        return
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom | ast.Assert):
        return
    if isinstance(node, ast.Call) and _name(node.func) in _UNSEEN_CALLS:
        return
    if isinstance(node, ast.expr | ast.stmt):
        for target, replacement in _replacements(node):
            yield target, replacement, function
    if isinstance(node, ast.AnnAssign):
        if node.value is not None:
            yield from _visit(node.value, function)
        return
    if isinstance(node, ast.Raise):  # errors are compared by class and reason; the message is prose
        return
    for child in ast.iter_child_nodes(node):
        yield from _visit(child, function)


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _replacements(node: _Located) -> Iterator[tuple[_Located, str]]:
    """Returns the replacements for ``node``. The condition of a loop is never replaced so that the loop is endless."""
    match node:
        case ast.If(test=test):
            yield from ((test, "True"), (test, "False"))
        case ast.While(test=test):
            yield test, "False"
        case ast.IfExp(body=body, orelse=other):
            yield from ((node, f"({ast.unparse(body)})"), (node, f"({ast.unparse(other)})"))
        case ast.Compare(ops=[op]) if type(op) in _COMPARED:
            yield node, f"({ast.unparse(ast.Compare(node.left, [_COMPARED[type(op)]()], node.comparators))})"
        case ast.BoolOp(values=values):
            other_op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield node, f"({ast.unparse(ast.BoolOp(other_op, values))})"
            for index in range(len(values)):
                rest = [*values[:index], *values[index + 1 :]]
                yield node, f"({ast.unparse(rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))})"
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield node, f"({ast.unparse(operand)})"
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _COMPUTED and not _is_text(left, right):
            yield node, f"({ast.unparse(ast.BinOp(left, _COMPUTED[type(op)](), right))})"
        case ast.AugAssign(target=target, op=op, value=value) if type(op) in _COMPUTED:
            yield node, ast.unparse(ast.AugAssign(target, _COMPUTED[type(op)](), value))
            yield node, "pass"
        case ast.Constant(value=bool(value)):
            yield node, str(not value)
        case ast.Constant(value=int() | float() as value):
            yield node, f"{value + 1}"
        case ast.Call(func=ast.Name(id=name)) if name in _CALLED:
            yield node, ast.unparse(ast.Call(ast.Name(_CALLED[name]), node.args, node.keywords))
        case ast.Expr(value=ast.Call() as call) | ast.Expr(value=ast.Await(value=ast.Call() as call)):
            if _name(call.func) not in _UNSEEN_CALLS:
                yield node, "pass"
        case ast.Slice(lower=lower, upper=upper):
            if lower is not None:
                yield node, ast.unparse(ast.Slice(ast.BinOp(lower, ast.Add(), ast.Constant(1)), upper, node.step))
            if upper is not None:
                yield node, ast.unparse(ast.Slice(lower, ast.BinOp(upper, ast.Sub(), ast.Constant(1)), node.step))
        case ast.Break():
            yield node, "continue"
        case ast.Continue():
            yield node, "break"
        case _:
            pass


def _is_text(*operands: ast.expr) -> bool:
    return any(isinstance(each, ast.JoinedStr) or isinstance(getattr(each, "value", 0), str) for each in operands)
