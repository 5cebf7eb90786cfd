"""A policy's graph as an ONNX model: https://onnx.ai/onnx/operators/, opset 18."""

from collections.abc import Callable
from typing import Any

import numpy as np

from klamp.errors import ConfigError, install_extra
from klamp.evaluation.export.graph import Graph, Node
from klamp.evaluation.export.policy_graph import ExportedPolicy

OPSET, IR = 18, 8
"""The version of December 2022, since runtimes on small computers may be old."""

DIRECT = {
    "abs": "Abs",
    "add": "Add",
    "add_any": "Add",
    "and": "And",
    "ceil": "Ceil",
    "copy": "Identity",
    "cos": "Cos",
    "div": "Div",
    "eq": "Equal",
    "exp": "Exp",
    "floor": "Floor",
    "ge": "GreaterOrEqual",
    "gt": "Greater",
    "le": "LessOrEqual",
    "log": "Log",
    "logistic": "Sigmoid",
    "lt": "Less",
    "matmul": "MatMul",
    "max": "Max",
    "min": "Min",
    "mul": "Mul",
    "neg": "Neg",
    "not": "Not",
    "or": "Or",
    "pow": "Pow",
    "sign": "Sign",
    "sin": "Sin",
    "sqrt": "Sqrt",
    "stop_gradient": "Identity",
    "sub": "Sub",
    "take": "Gather",
    "tanh": "Tanh",
}
"""Operations that ONNX has under another name, with the same parameters."""

NEAR = 0.5
"""Below, log(1 + x) and eˣ − 1 are computed without cancellation."""


class Writer:
    """The nodes and constants of a model, as they are written."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._names: dict[int, str] = {number: name for name, number in graph.inputs.items()}
        self._constants: dict[tuple[Any, ...], str] = {}
        for number, array in graph.constants.items():
            self._names[number] = self.constant(array)

    def name(self, number: int) -> str:
        """The name of a value."""
        return self._names.setdefault(number, f"value_{number}")

    def constant(self, array: np.ndarray | np.float32) -> str:
        """The name of a constant."""
        from onnx import numpy_helper  # noqa: PLC0415 - an extra

        array = np.ascontiguousarray(array).reshape(np.shape(array))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = name = f"constant_{len(self._constants)}"
            self.initializers.append(numpy_helper.from_array(array, name))
        return self._constants[key]

    def __call__(
        self, kind: str, *operands: str, result: str | None = None, **attributes: Any
    ) -> str:
        """Write a node; the name of its result."""
        from onnx import helper  # noqa: PLC0415 - an extra

        result = result or f"inner_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(operands), [result], **attributes))
        return result

    def rows(self) -> str:
        """The number of rows, as an array of one number."""
        first = next(iter(self.graph.inputs))
        return self("Shape", first, start=0, end=1)

    def shape(self, sizes: list[int | None]) -> str:
        """A shape; None stands for the number of rows."""
        if None not in sizes:
            return self.constant(np.array(sizes, np.int64))
        axis = sizes.index(None)
        parts = [np.array(part, np.int64) for part in (sizes[:axis], sizes[axis + 1 :])]
        before, after = (self.constant(part) for part in parts)
        return self("Concat", before, self.rows(), after, axis=0)


def _reshape(write: Writer, x: str, to: str, shape: list[int | None]) -> None:
    sizes = np.array([-1 if size is None else size for size in shape], np.int64)
    write("Reshape", x, write.constant(sizes), result=to)


def _slice(write: Writer, x: str, to: str, index: list[list[int]]) -> None:
    cut = [(axis, *part) for axis, part in enumerate(index) if part != [None, None, 1]]
    columns = [write.constant(np.array(column, np.int64)) for column in zip(*cut, strict=True)]
    if not cut:
        write("Identity", x, result=to)
        return
    axes, starts, ends, steps = columns
    write("Slice", x, starts, ends, axes, steps, result=to)


def _convert(write: Writer, x: str, to: str, dtype: str) -> None:
    from onnx import helper  # noqa: PLC0415 - an extra

    write("Cast", x, result=to, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _extreme(kind: str) -> Callable[..., None]:
    def extreme(write: Writer, x: str, to: str, axis: int) -> None:
        found = write(kind, x, axis=axis, keepdims=0)
        _convert(write, found, to, "int32")

    return extreme


def _reduction(kind: str) -> Callable[..., None]:
    def reduce(write: Writer, x: str, to: str, axes: list[int]) -> None:
        if not axes:  # which ONNX takes for all of them
            write("Identity", x, result=to)
            return
        write(kind, x, write.constant(np.array(axes, np.int64)), keepdims=0, result=to)

    return reduce


def _pad(write: Writer, x: str, to: str, widths: list[list[int]], filling: float) -> None:
    dtype = write.graph.values[_number(write, x)].dtype
    ends = np.array(widths, np.int64).T.ravel()
    write("Pad", x, write.constant(ends), write.constant(np.array(filling, dtype)), result=to)


def _log1p(write: Writer, x: str, to: str) -> None:
    """Near 0 Kahan's x·log(u)/(u − 1), u = 1 + x: the two rounding errors of u cancel."""
    one = write.constant(np.float32(1))
    u = write("Add", x, one)
    log, rest = write("Log", u), write("Sub", u, one)
    ratio = write("Div", write("Mul", x, log), rest)
    _near(write, x, to, inside=ratio, flat=rest, outside=log)


def _expm1(write: Writer, x: str, to: str) -> None:
    """Near 0 Kahan's (u − 1)·x/log(u), u = eˣ."""
    u = write("Exp", x)
    rest = write("Sub", u, write.constant(np.float32(1)))
    ratio = write("Div", write("Mul", rest, x), write("Log", u))
    _near(write, x, to, inside=ratio, flat=rest, outside=rest)


def _near(write: Writer, x: str, to: str, inside: str, flat: str, outside: str) -> None:
    """Of a function with f(x) ≈ x: x where u rounds to 1, a quotient near 0, else the plain one."""
    zero, bound = write.constant(np.float32(0)), write.constant(np.float32(NEAR))
    close = write("Where", write("Equal", flat, zero), x, inside)
    write("Where", write("Less", write("Abs", x), bound), close, outside, result=to)


def _power(write: Writer, x: str, to: str, exponent: int) -> None:
    if exponent == 2:
        write("Mul", x, x, result=to)
        return
    dtype = write.graph.values[_number(write, x)].dtype
    write("Pow", x, write.constant(np.array(exponent, dtype)), result=to)


def _number(write: Writer, name: str) -> int:
    """The number of a value by its name."""
    return next(n for n in range(len(write.graph.values)) if write.name(n) == name)


COMPOSED: dict[str, Callable[..., Any]] = {
    "argmax": _extreme("ArgMax"),
    "argmin": _extreme("ArgMin"),
    "broadcast": lambda write, x, to, shape: write("Expand", x, write.shape(shape), result=to),
    "clamp": lambda write, low, x, high, to: write("Min", write("Max", x, low), high, result=to),
    "concatenate": lambda write, *parts, to, axis: write("Concat", *parts, result=to, axis=axis),
    "convert": _convert,
    "convolve": lambda write, x, weight, to, strides, groups: write(
        "Conv", x, weight, result=to, strides=strides, group=groups
    ),
    "expm1": _expm1,
    "integer_pow": _power,
    "log1p": _log1p,
    "ne": lambda write, x, y, to: write("Not", write("Equal", x, y), result=to),
    "pad": _pad,
    "reduce_max": _reduction("ReduceMax"),
    "reduce_min": _reduction("ReduceMin"),
    "reduce_prod": _reduction("ReduceProd"),
    "reduce_sum": _reduction("ReduceSum"),
    "reshape": _reshape,
    "rsqrt": lambda write, x, to: write("Reciprocal", write("Sqrt", x), result=to),
    "select_n": lambda write, which, no, yes, to: write("Where", which, yes, no, result=to),
    "slice": _slice,
    "square": lambda write, x, to: write("Mul", x, x, result=to),
    "transpose": lambda write, x, to, permutation: write(
        "Transpose", x, result=to, perm=permutation
    ),
}
"""Operations that ONNX has in another form: functions that write their nodes, the last into
``to``."""


def onnx_model(exported: ExportedPolicy) -> bytes:
    """The model of a policy. Raises ``ConfigError`` where the package `onnx` is missing."""
    try:
        import onnx  # noqa: PLC0415 - an extra
        from onnx import checker, helper  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"The policy cannot be written as ONNX without the package `onnx` ({error}). "
            f"{install_extra('export')} Or export to a `.npz`, which numpy alone runs."
        ) from error
    graph = exported.graph
    write = Writer(graph)
    for node in graph.nodes:
        _write(write, node)
    for name, number in graph.outputs.items():
        write("Identity", write.name(number), result=name)
    model = helper.make_model(
        helper.make_graph(
            write.nodes,
            "policy",
            [_described(graph, name, number) for name, number in graph.inputs.items()],
            [_described(graph, name, number) for name, number in graph.outputs.items()],
            write.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="klamp",
    )
    model.ir_version = IR
    helper.set_model_props(model, exported.about)
    checker.check_model(model, full_check=True)
    assert isinstance(model, onnx.ModelProto)
    return model.SerializeToString()


def _write(write: Writer, node: Node) -> None:
    operands = [write.name(number) for number in node.operands]
    to = write.name(node.result)
    if node.name in DIRECT:
        write(DIRECT[node.name], *operands, result=to, **node.parameters)
    else:
        COMPOSED[node.name](write, *operands, to=to, **node.parameters)


def _described(graph: Graph, name: str, number: int) -> Any:
    """An input or output: its name, dtype and shape, with the rows open."""
    from onnx import helper  # noqa: PLC0415 - an extra

    value = graph.values[number]
    sizes = ["batch" if size is None else size for size in value.shape]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), sizes)
