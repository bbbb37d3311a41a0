"""Spaces of configurations, read from a template's `/*kernel_factory` header and the spec that it names.

Nothing about a kernel is written down here: tunables, constraints, launches and scratch buffers come from the header,
sizes, arguments and the reference's name from the spec.
"""

import ast
import itertools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

ELEMENT_BYTES = {"bf16": 2, "f16": 2, "f32": 4, "u32": 4, "i32": 4}
HEADER = re.compile(r"/\*kernel_factory\n(.*?)\*/", re.S)
ALLOWED = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.Mult,
    ast.FloorDiv, ast.Mod, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Name, ast.Load,
    ast.Constant, ast.Call,
)
FUNCTIONS = {"ceil_div": lambda a, b: -(-a // b), "min": min, "max": max}


def python_of(expression):
    """A header's expression as Python: division of whole numbers is `//` there."""
    return re.sub(r"/+", "//", str(expression))


class Expression:
    """An expression over sizes and tunables."""

    def __init__(self, text):
        self.text = python_of(text)
        tree = ast.parse(self.text.strip(), mode="eval")
        for node in ast.walk(tree):
            if not isinstance(node, ALLOWED):
                raise ValueError(f"`{text}` has {type(node).__name__}, which is not known here")
        self.names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - set(FUNCTIONS)
        self.code = compile(tree, f"<{text}>", "eval")

    def __call__(self, values):
        return int(eval(self.code, {"__builtins__": {}, **FUNCTIONS}, values))


def values_of(tunable):
    """The values that a tunable may have, as the factory reads them."""
    if isinstance(tunable, bool):
        return [int(tunable), int(not tunable)]
    if isinstance(tunable, dict):
        if "powers" in tunable:
            first, last = tunable["powers"]
            found = [first]
            while found[-1] * 2 <= last:
                found.append(found[-1] * 2)
        elif "range" in tunable:
            first, last = tunable["range"]
            found = list(range(first, last + 1, tunable.get("step", 1)))
        else:
            found = list(tunable["values"])
    else:
        found = list(tunable)
    return [int(value) if isinstance(value, bool) else value for value in found]


@dataclass(frozen=True)
class Argument:
    name: str
    dtype: str
    shape: tuple  # whole numbers; empty for scalars
    written: bool
    values: tuple  # of scalars

    @property
    def scalar(self):
        return not self.shape

    @property
    def elements(self):
        product = 1
        for size in self.shape:
            product *= size
        return product

    @property
    def bytes(self):
        return self.elements * ELEMENT_BYTES[self.dtype]


@dataclass(frozen=True)
class Launch:
    """A launch with every number known."""

    entry: str
    grid: tuple
    block: tuple
    cluster: tuple
    shared: int
    params: tuple  # ("arg", name) | ("scratch", name) | ("u32", value) | ("u64", value)


class Kernel:
    """A template at the first sizes of its spec's `better.over`."""

    def __init__(self, spec_path, template_path):
        self.spec_path, self.template_path = Path(spec_path), Path(template_path)
        spec = tomllib.loads(self.spec_path.read_text())
        self.source = self.template_path.read_text()
        found = HEADER.match(self.source)
        if not found:
            raise ValueError(f"{template_path}: it does not begin with a kernel_factory header")
        header = tomllib.loads(found.group(1))
        self.name = spec["kernel"]["name"]
        if header.get("spec", self.name) != self.name:
            raise ValueError(f"{template_path} is for `{header['spec']}`, not for `{self.name}`")
        known = {"spec", "fallback", "alignment", "constraints", "tunables", "scratch", "launch"}
        if unknown := set(header) - known:
            raise ValueError(f"{template_path}: {sorted(unknown)} is not supported here")
        self.sizes = dict(spec["better"]["over"][0])
        self.program = spec["reference"]["program"]
        self.arguments = [self._argument(argument) for argument in spec["arg"]]
        self.tunables = {name: values_of(value) for name, value in header["tunables"].items()}
        words = {}
        for values in self.tunables.values():
            if isinstance(values[0], str):
                words.update({word: number for number, word in enumerate(sorted(values))})
        self._words = words
        self.constraint_texts = list(header.get("constraints", []))
        self._constraints = [Expression(text) for text in self.constraint_texts]
        self.scratch = {one["name"]: Expression(one["bytes"]) for one in header.get("scratch", [])}
        self.launch_texts = header["launch"]
        self._launches = [
            {
                "entry": one["entry"],
                **{key: [Expression(text) for text in one.get(key, [])] for key in ("grid", "block", "cluster")},
                "shared": Expression(one.get("shared", "0")),
                "params": [self._param(param) for param in one["params"]],
            }
            for one in self.launch_texts
        ]

    def _argument(self, argument):
        shape = tuple(self.sizes[size] if isinstance(size, str) else size for size in argument.get("shape", []))
        written = argument.get("role", "in") != "in"
        return Argument(argument["name"], argument["dtype"], shape, written, tuple(argument.get("values", [])))

    def _param(self, param):
        if isinstance(param, str):
            kind = "scratch" if param in self.scratch else "arg"
            return kind, param
        ((kind, text),) = param.items()
        if kind not in ("u32", "u64"):
            raise ValueError(f"a parameter `{kind}` is not supported here")
        return kind, Expression(text)

    def _names(self, configuration):
        numbers = {name: self._words.get(value, value) for name, value in configuration.items()}
        return {**self._words, **self.sizes, **numbers}

    def allows(self, configuration):
        names = self._names(configuration)
        return all(constraint(names) for constraint in self._constraints)

    def configurations(self):
        """Every configuration that the constraints allow, each a dictionary of tunables."""
        every = (dict(zip(self.tunables, values)) for values in itertools.product(*self.tunables.values()))
        return [configuration for configuration in every if self.allows(configuration)]

    def launches(self, configuration):
        names = self._names(configuration)

        def three(expressions):
            found = [expression(names) for expression in expressions]
            return tuple(found + [1] * (3 - len(found)))

        return [
            Launch(
                entry=one["entry"],
                grid=three(one["grid"]),
                block=three(one["block"]),
                cluster=three(one["cluster"]),
                shared=one["shared"](names),
                params=tuple(
                    (kind, value(names) if isinstance(value, Expression) else value) for kind, value in one["params"]
                ),
            )
            for one in self._launches
        ]

    def scratch_bytes(self, configuration):
        names = self._names(configuration)
        return {name: expression(names) for name, expression in self.scratch.items()}

    def defines(self, configuration):
        """The macros of a configuration, as the factory defines them."""
        found = {}
        for name, value in configuration.items():
            found[name] = str(value)
            if isinstance(value, str):
                found[f"{name}_{value}"] = "1"
        return found

    def text(self, configuration):
        """What is compiled: the macros, then the source."""
        lines = [f"#define {name} {value}\n" for name, value in self.defines(configuration).items()]
        return "".join(lines) + f'#line 1 "{self.template_path.name}"\n' + self.source

    @property
    def set_bytes(self):
        """Bytes of all tensors of one call."""
        return sum(argument.bytes for argument in self.arguments if not argument.scalar)


def key(configuration):
    """A configuration as text, for tables and comparisons."""
    return " ".join(f"{name}={configuration[name]}" for name in sorted(configuration))


# Where the kernels are, and how many configurations each has: a guard that all three tuners search the same spaces.
EXPECTED = {"rms_norm": 1764, "row_sums": 4896, "matmul": 5238}


def load(folder):
    """The kernels of `examples/templated`, their spaces counted."""
    folder = Path(folder) / "kernels"
    found = {}
    for name, expected in EXPECTED.items():
        (template,) = sorted((folder / name).glob("*.cu"))
        kernel = Kernel(folder / f"{name}.toml", template)
        count = len(kernel.configurations())
        assert count == expected, f"{name}: {count} configurations, not {expected}"
        found[name] = kernel
    return found
