"""Size expressions of plans: the language of `factory-spec/src/size_expr`, read by Python's own parser.

Both languages bind their operators alike; what differs is checked here: `/` and `%` round towards zero, comparisons give
0 or 1 and do not chain, and every value fits 64 bits. Nothing but the nodes named below is evaluated.
"""

import ast
import functools


class SizeError(ValueError):
    pass


def _quotient(a, b):
    if b == 0:
        raise SizeError("division by zero")
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _remainder(a, b):
    return a - b * _quotient(a, b)


def _ceil_div(a, b):
    quotient = _quotient(a, b)
    return quotient + (1 if quotient * b != a and (a < 0) == (b < 0) else 0)


ARITHMETIC = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: _quotient,
    ast.Mod: _remainder,
}
COMPARISONS = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}
# Name: the function, and the least and the most operands.
FUNCTIONS = {
    "ceil_div": (_ceil_div, 2, 2),
    "min": (min, 2, 1 << 20),
    "max": (max, 2, 1 << 20),
    "next_pow2": (lambda a: 1 if a <= 1 else 1 << (a - 1).bit_length(), 1, 1),
}


@functools.cache
def parse(text):
    """The expression's tree; refused as a whole if any part of it is not of the language."""
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise SizeError(f"`{text}` is not a size expression: {error}") from error
    _check(tree, text)
    return tree


def _check(node, text):
    match node:
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            parts = []
        case ast.Name():
            parts = []
        case ast.BinOp(left=a, op=op, right=b) if type(op) in ARITHMETIC:
            parts = [a, b]
        case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=a):
            parts = [a]
        case ast.BoolOp(values=parts):
            pass
        case ast.Compare(left=a, ops=[op], comparators=[b]) if type(op) in COMPARISONS:
            parts = [a, b]
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if name in FUNCTIONS:
            _, least, most = FUNCTIONS[name]
            if not least <= len(parts) <= most:
                raise SizeError(f"`{name}` with {len(parts)} operands in `{text}`")
        case _:
            raise SizeError(f"`{ast.unparse(node)}` in `{text}` is not of the language")
    for part in parts:
        _check(part, text)


def evaluate(text, sizes):
    """The value of `text` with `sizes` for names: an `int` of 64 bits."""
    return _value(parse(str(text)), sizes)


def _value(node, sizes):
    match node:
        case ast.Constant(value=value):
            pass
        case ast.Name(id=name):
            if name not in sizes:
                raise SizeError(f"no size is called `{name}`")
            value = sizes[name]
        case ast.BinOp(left=a, op=op, right=b):
            value = ARITHMETIC[type(op)](_value(a, sizes), _value(b, sizes))
        case ast.UnaryOp(op=ast.Not(), operand=a):
            value = int(_value(a, sizes) == 0)
        case ast.UnaryOp(operand=a):
            value = -_value(a, sizes)
        # `all` and `any` stop at the first operand that decides, as the language does.
        case ast.BoolOp(op=ast.And(), values=parts):
            value = int(all(_value(part, sizes) != 0 for part in parts))
        case ast.BoolOp(values=parts):
            value = int(any(_value(part, sizes) != 0 for part in parts))
        case ast.Compare(left=a, ops=[op], comparators=[b]):
            value = int(COMPARISONS[type(op)](_value(a, sizes), _value(b, sizes)))
        case ast.Call(func=ast.Name(id=name), args=parts):
            value = FUNCTIONS[name][0](*[_value(part, sizes) for part in parts])
    if not -(1 << 63) <= value < 1 << 63:
        raise SizeError("the value does not fit a 64-bit integer")
    return value
