"""`trace`: its arguments, its result, and where it may be called."""

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import asyncjit
from asyncjit import fork, nn, sync
from asyncjit._core.context import current_handler
from asyncjit.errors import TraceError, WaitOnEventLoopError
from asyncjit.graph import Interpreter
from asyncjit.graph.tracing import TracedFunction, trace
from asyncjit.scripting import script
from tests.graph.eager import assert_same, check, kinds

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def affine(x: Any, *, scale: Any = 1.0, bias: Any = None) -> Any:
    y = x * scale
    return y if bias is None else y + bias


def test_the_result_is_called_like_the_function_and_knows_it() -> None:
    traced = trace(affine, X)
    assert isinstance(traced, TracedFunction)
    assert isinstance(traced, Interpreter)
    assert traced.original is affine
    assert traced.__name__ == traced.graph.name == "affine"
    assert repr(traced) == "<asyncjit.TracedFunction of affine>"
    assert np.array_equal(traced(X + 1), X + 1)


def test_it_can_be_forked_and_awaited() -> None:
    traced = trace(lambda x: sync.wait(fork(np.negative, x)), X)

    async def main() -> Any:
        return await asyncjit.call(traced, X), await fork(traced, X)

    for result in (*asyncio.run(main()), sync.wait(fork(traced, X))):
        assert np.array_equal(result, -X)


def test_example_inputs_are_a_tuple_an_array_or_a_dict() -> None:
    expected = affine(X)
    for example in (X, (X,), {"x": X}):
        traced = trace(affine, example)
        assert np.array_equal(traced(x=X) if isinstance(example, dict) else traced(X), expected)
    assert trace(affine, np.float32(2))(np.float32(3)) == 3
    traced = trace(affine, {"bias": X[0], "x": X, "scale": 2.0})
    assert np.array_equal(traced(scale=2.0, x=-X, bias=X[1]), affine(-X, scale=2.0, bias=X[1]))


@pytest.mark.parametrize("example", [[X], 3.0, "x", None])
def test_other_example_inputs_are_refused(example: Any) -> None:
    with pytest.raises(TypeError, match="example_inputs is a tuple of positional arguments, one array, or a dict"):
        trace(affine, example)


@pytest.mark.parametrize(
    "make", [lambda: np.array([None]), lambda: np.ma.masked_array([1.0]), lambda: np.asmatrix([1])]
)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_arrays_of_objects_and_of_other_classes_are_refused(make: Any) -> None:
    array = make()
    with pytest.raises(TypeError, match=r"an example input of .* cannot be traced"):
        trace(affine, (array,))


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match=r"trace needs something to call, got 3 of type int: trace\(fn, inputs\)"):
        trace(3, X)  # type: ignore[arg-type]


def test_on_a_loops_thread_it_names_what_to_await() -> None:
    async def main() -> Any:
        with pytest.raises(WaitOnEventLoopError, match=r"await asyncjit.call\(trace, fn, example_inputs\)"):
            trace(affine, X)
        return await asyncjit.call(trace, affine, (X,))

    assert np.array_equal(asyncio.run(main())(X), X)


def test_one_array_given_twice_is_two_inputs() -> None:
    traced = trace(lambda a, b: a - b, (X, X))
    assert np.array_equal(traced(X, 2 * X), -X)


def test_numbers_are_constants_and_others_are_told() -> None:
    traced = trace(lambda x, n: x * n, (X, 3))
    assert np.array_equal(traced(X, 3), X * 3)
    with pytest.raises(TypeError, match="3"):
        traced(X, 4)


def test_another_shape_or_dtype_works_where_the_graph_allows_it() -> None:
    traced = trace(lambda x: np.tanh(x).sum(axis=-1), X)
    for other in (np.ones((5, 7), np.float32), np.ones((2, 2, 2)), np.full(1, 2.0)):
        assert_same(np.tanh(other).sum(axis=-1), traced(other))


def test_modules_are_traced_through_and_layers_are_one_node_each() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2))

        def forward(self, x: Any) -> Any:
            return nn.functional.softmax(self.layers(x) + 1, dim=-1)

    graph = check(Model(), {"x": X}, {"x": -X}).graph
    assert kinds(graph) == [
        *("nn::Linear", "nn::ReLU", "nn::Dropout", "nn::Linear", "numpy::add", "nn::functional.softmax")
    ]
    assert graph.name == "Model"
    assert [value.name for value in graph.inputs()] == ["x"]


def test_a_layer_on_plain_arrays_is_a_constant() -> None:
    layer = nn.Linear(3, 3)
    plain = np.ones((1, 3), np.float32)
    assert kinds(check(lambda x: x + layer(plain), {"x": X}, {"x": -X}).graph) == ["numpy::add"]


def test_what_a_layer_returns_unchanged_shares_its_memory() -> None:
    for identity in (nn.Dropout(), nn.Identity(), nn.functional.dropout):

        def f(x: Any, identity: Any = identity) -> Any:
            y = x * 2
            z = identity(y)
            z += 1
            return y

        with pytest.raises(TraceError, match="memory that another array shares"):
            trace(f, X)


def test_a_scripted_function_is_traced_with_its_waits() -> None:
    @script
    def scripted(x: Any) -> Any:
        future = fork(np.negative, x)
        return future.wait() + sync.wait(future)

    assert kinds(trace(scripted, X).graph) == ["prim::fork", "aten::wait", "aten::wait", "numpy::add"]


def test_an_output_that_is_not_traced_is_a_constant() -> None:
    plain = np.arange(3)
    traced = trace(lambda x: (plain, x, None, "text", 3), X)
    result = traced(-X)
    np.testing.assert_array_equal(result[0], plain)
    assert result[2:] == (None, "text", 3)
    result[0][:] = 7  # who gets it may write into it
    np.testing.assert_array_equal(traced(X)[0], [0, 1, 2])


def test_an_error_of_the_function_keeps_its_type_and_says_that_it_was_traced() -> None:
    def f(x: Any) -> Any:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone") as caught:
        trace(f, X)
    assert caught.value.__notes__ == ["while tracing f"]
    assert caught.traceback[-1].name == "f"
    assert current_handler() is None


def test_a_refusal_that_the_function_catches_is_raised_in_the_end() -> None:
    def f(x: Any) -> Any:
        try:
            n = int(x[0, 0])
        except Exception:
            n = 1
        return x * n

    with pytest.raises(
        TraceError, match=rf"^{__file__}:{f.__code__.co_firstlineno + 2}: int\(\) of the traced array %0"
    ):
        trace(f, X, check_trace=False)


def test_a_traced_array_that_outlives_its_trace_says_so() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x * 2)
        kept.append(fork(np.negative, x))
        return x

    trace(f, X, check_trace=False)
    text = "is used after its trace has ended: the traced function kept it, in an attribute, a global or a closure"
    for use in (lambda: kept[0] + 1, lambda: kept[0].shape[0], lambda: kept[1].wait()):
        with pytest.raises(TraceError, match=rf"{__file__}:\d+: .*{text}"):
            use()  # type: ignore[no-untyped-call]


def test_a_trace_within_a_trace_has_a_graph_of_its_own() -> None:
    inner: list[TracedFunction] = []

    def f(x: Any) -> Any:
        inner.append(trace(lambda a: sync.wait(fork(np.negative, a)), np.ones(3)))
        return x + 1

    outer = trace(f, X, check_trace=False)
    assert kinds(outer.graph) == ["numpy::add"]
    assert kinds(inner[0].graph) == ["prim::fork", "aten::wait"]


def test_the_arrays_of_an_outer_trace_are_not_those_of_an_inner_one() -> None:
    def f(x: Any) -> Any:
        trace(lambda a: a + x, np.ones(3))

    with pytest.raises(TraceError, match="belongs to another trace, in which this one runs: give it to the inner"):
        trace(f, X)
    with pytest.raises(
        TraceError, match=r"the example input %x : .* is a traced array: give the inner trace plain ones"
    ):
        trace(lambda x: trace(np.negative, x), X)


def test_a_traced_function_called_in_a_trace_adds_its_nodes() -> None:
    inner = trace(lambda x: sync.wait(fork(np.negative, x)) + 1, X)
    outer = check(lambda x: inner(x) * 2, {"x": X}, {"x": -X})
    assert kinds(outer.graph) == ["prim::fork", "aten::wait", "numpy::add", "numpy::multiply"]
    forked = check(lambda x: sync.wait(fork(inner, x)), {"x": X}, {"x": -X})
    assert [kinds(part) for part in forked.graph.subgraphs()] == [
        ["prim::fork", "aten::wait"],
        ["prim::fork", "aten::wait", "numpy::add"],
        ["numpy::negative"],
    ]


def test_the_first_example_of_the_reference() -> None:
    def foo(a: Any, b: int) -> Any:
        return a + b

    def bar(a: Any) -> Any:
        future = fork(foo, a, b=2)
        return sync.wait(future)

    value = np.array(2)
    graph = trace(bar, (value,)).graph
    assert "fork" in str(graph)
    assert script(bar)(value) == bar(value)


def test_the_second_example_of_the_reference() -> None:
    class AddMod(nn.Module):
        def forward(self, a: Any, b: int) -> Any:
            return a + b

    class Mod(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mod = AddMod()

        def forward(self, input: Any) -> Any:
            future = fork(self.mod, input, b=2)
            return sync.wait(future)

    value = np.array(2)
    mod = Mod()
    traced = trace(mod, (value,))
    assert mod(value) == traced(value) == 4
    assert [kinds(part) for part in traced.graph.subgraphs()] == [["prim::fork", "aten::wait"], ["numpy::add"]]


PURE = (np.negative, np.cbrt, lambda a: a.T, lambda a: a[::-1] * 2, lambda a: a - a.mean(axis=0), np.sort)
PAIRS = (np.add, np.maximum, lambda a, b: a @ b, lambda a, b: np.where(a > b, a, b), lambda a, b: np.stack([a, b])[1])


@st.composite
def programs(draw: st.DrawFn, depth: int = 0) -> list[Any]:
    """Return steps on a list of arrays and a list of futures; numbers are taken modulo their lengths."""
    steps: list[Any] = []
    for kind in draw(st.lists(st.sampled_from(["one", "two", "change", "fork", "fork", "wait", "wait"]), max_size=6)):
        numbers = draw(st.integers(0, 9)), draw(st.integers(0, 9))
        if kind == "fork":
            steps.append((kind, draw(programs(depth + 1)) if depth < 2 else [], numbers))
        else:
            function = {"one": PURE, "two": PAIRS}.get(kind, (None,))
            steps.append((kind, draw(st.sampled_from(function)), numbers))
    return steps


def execute(steps: list[Any], *arrays: Any) -> Any:
    """Run a program: the same function for eager runs and for the tracer."""
    known, futures = list(arrays), []
    for kind, what, (first, second) in steps:
        a, b = known[first % len(known)], known[second % len(known)]
        if kind == "fork":
            futures.append(fork(execute, what, a, b))
        elif kind == "wait" and futures:
            known += sync.wait(futures[first % len(futures)])
        elif kind == "one":
            known.append(what(a))
        elif kind == "two":
            known.append(what(a, b))
        elif kind == "change":
            fresh = a * 2
            fresh += b
            np.abs(fresh, out=fresh)
            known.append(fresh)
    return known[-3:]


@given(programs())
def test_any_program_of_forks_gives_the_same_traced_as_eager(steps: list[Any]) -> None:
    def f(x: Any, y: Any) -> Any:
        return execute(steps, x, y)

    random = np.random.default_rng(0)
    example, others = ({"x": random.random((3, 3)), "y": random.random((3, 3))} for _ in range(2))
    check(f, example, others)


def test_the_ensemble_is_traced_without_being_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    T, B, C = 50, 50, 1024

    class Bidirectional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell_f = nn.LSTM(C, C, rng=0)
            self.cell_b = nn.LSTM(C, C, rng=1)

        def forward(self, x: Any) -> Any:
            forwards, _ = self.cell_f(x)
            backwards, _ = self.cell_b(np.flip(x, axis=0))
            return np.concatenate((forwards, np.flip(backwards, axis=0)), axis=2)

    def never(*args: Any) -> Any:
        raise AssertionError("computed")

    monkeypatch.setattr(nn.LSTM, "_run", never)
    model = Bidirectional()

    def ensemble(x: Any) -> Any:
        return np.stack([sync.wait(future) for future in [fork(model, x) for _ in range(4)]]).sum(axis=0)

    graph = trace(ensemble, np.empty((T, B, C), np.float32), check_trace=False).graph
    (value,) = graph.outputs()
    assert str(value.type) == "float32[50, 50, 2048]"


def test_parallel_forks_what_is_independent_and_explains_itself() -> None:
    weights = [np.full((400, 400), n, np.float64) for n in range(4)]

    def serial(x: Any) -> Any:
        return sum((x @ weight for weight in weights), x)

    x = np.ones((400, 400))
    traced = trace(serial, x, parallel=True)
    assert np.array_equal(traced(x), serial(x))
    assert traced.graph.report().work_ns > 0  # type: ignore[attr-defined]
