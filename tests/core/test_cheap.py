"""`Costs`: which ufuncs a loop may run itself, and how much of its turn they may take."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

import asyncjit
from asyncjit import fork
from asyncjit._core import forks
from asyncjit._core.cheap import BUDGET_S, HOP_S, TERM, Costs
from asyncjit._core.loops import Inbox, inbox_of
from tests.at_rest import assert_at_rest

CHEAP_S = HOP_S / 10
DEAR_S = HOP_S * 10


class Measured(Costs):
    """Costs as the test tells them: each run takes the next of `durations`, the last of them for ever."""

    def __init__(self, *durations: float) -> None:
        self.now = 0.0
        self.durations = list(durations)
        self.is_running = False
        super().__init__(self._tick)

    def _tick(self) -> float:
        if self.is_running:
            self.now += self.durations.pop(0) if len(self.durations) > 1 else self.durations[0]
        self.is_running = not self.is_running
        return self.now


@pytest.fixture
async def inbox() -> Inbox:
    """Return an inbox whose loop has given it the budget of a turn."""
    inbox = inbox_of(asyncio.get_running_loop())
    inbox.new_turn(BUDGET_S)
    return inbox


def is_cheap(costs: Costs, inbox: Inbox, fn: Any, *args: Any, **kwargs: Any) -> bool:
    return costs.is_cheap(fn, args, kwargs, inbox)


# -- what qualifies


async def test_what_was_not_measured_is_not_cheap(inbox: Inbox) -> None:
    assert not is_cheap(Measured(CHEAP_S), inbox, np.negative, np.ones(1))


async def test_a_ufunc_that_was_measured_below_a_hop_is_cheap(inbox: Inbox) -> None:
    costs = Measured(CHEAP_S)
    assert costs.run(np.add, (np.ones(2), 1), {}).tolist() == [2, 2]
    assert is_cheap(costs, inbox, np.add, np.ones(2), 1)
    assert not is_cheap(costs, inbox, np.subtract, np.ones(2), 1), "that is another ufunc"


@pytest.mark.parametrize(
    ("size", "is_known"), [(8, True), (15, True), (7, False), (16, False)], ids=lambda value: str(value)
)
async def test_a_class_holds_sizes_of_as_many_bits(inbox: Inbox, size: int, is_known: bool) -> None:
    costs = Measured(CHEAP_S)
    costs.run(np.negative, (np.ones(12),), {})
    assert is_cheap(costs, inbox, np.negative, np.ones(size)) is is_known


async def test_the_largest_argument_tells_the_class(inbox: Inbox) -> None:
    costs = Measured(CHEAP_S)
    costs.run(np.add, (np.ones((100, 1)), 1.0), {})
    assert is_cheap(costs, inbox, np.add, 1.0, np.ones((1, 100)))
    assert not is_cheap(costs, inbox, np.add, 1.0, 2.0)


@pytest.mark.parametrize("number", [1, 1.0, 1j, True, np.float32(1)])
async def test_a_number_is_of_the_smallest_class(inbox: Inbox, number: Any) -> None:
    costs = Measured(CHEAP_S)
    costs.run(np.negative, (np.ones(1),), {})
    assert is_cheap(costs, inbox, np.negative, number)


@pytest.mark.parametrize(
    ("fn", "args", "kwargs"),
    [
        (abs, (1,), {}),
        (np.sum, (np.ones(2),), {}),
        (np.frompyfunc(abs, 1, 1), (np.array([1], dtype=object),), {}),
        (np.negative, (np.array([1], dtype=object),), {}),
        (np.negative, ([1, 2],), {}),
        (np.negative, (np.ma.ones(2),), {}),
        (np.negative, (np.ones(2),), {"dtype": np.float64}),
    ],
    ids=["builtin", "function", "from a function", "objects", "list", "subclass", "keywords"],
)
async def test_what_may_run_anybodys_code_or_block_is_never_cheap(
    inbox: Inbox, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    costs = Measured(CHEAP_S)
    for _ in range(3):
        costs.run(fn, args, kwargs)
    assert not costs.is_cheap(fn, args, kwargs, inbox)


async def test_what_is_not_of_the_kind_is_called_all_the_same() -> None:
    assert Measured(CHEAP_S).run(divmod, (7, 2), {}) == (3, 1)
    assert Measured(CHEAP_S).run(sorted, ([1, 2],), {"reverse": True}) == [2, 1]


# -- overruns


@pytest.mark.parametrize("durations", [[DEAR_S, CHEAP_S], [CHEAP_S, DEAR_S, CHEAP_S]], ids=["first", "later"])
async def test_one_overrun_bars_the_class_until_it_was_cheap_for_a_while(inbox: Inbox, durations: list[float]) -> None:
    costs = Measured(*durations)
    for _ in range(len(durations) - 1 + TERM - 1):
        costs.run(np.negative, (np.ones(4),), {})
    assert not is_cheap(costs, inbox, np.negative, np.ones(4))
    costs.run(np.negative, (np.ones(4),), {})
    assert is_cheap(costs, inbox, np.negative, np.ones(4))


async def test_another_overrun_begins_the_term_anew(inbox: Inbox) -> None:
    costs = Measured(DEAR_S, *[CHEAP_S] * (TERM - 1), DEAR_S, CHEAP_S)
    for _ in range(2 * TERM - 1):
        costs.run(np.negative, (np.ones(4),), {})
    assert not is_cheap(costs, inbox, np.negative, np.ones(4))


async def test_an_overrun_bars_no_other_class(inbox: Inbox) -> None:
    costs = Measured(CHEAP_S, DEAR_S)
    costs.run(np.negative, (np.ones(4),), {})
    costs.run(np.negative, (np.ones(4000),), {})
    assert is_cheap(costs, inbox, np.negative, np.ones(4))
    assert not is_cheap(costs, inbox, np.negative, np.ones(4000))


async def test_a_call_that_raises_is_measured_too(inbox: Inbox) -> None:
    costs = Measured(DEAR_S, CHEAP_S)
    with pytest.raises(ValueError, match="broadcast"):
        costs.run(np.add, (np.ones(4), np.ones(5)), {})
    costs.run(np.add, (np.ones(4), 1), {})
    assert not is_cheap(costs, inbox, np.add, np.ones(4), 1)


# -- the budget


async def test_a_turn_has_a_budget(inbox: Inbox) -> None:
    costs = Measured(HOP_S / 2)
    costs.run(np.negative, (np.ones(1),), {})
    runs = 0
    while is_cheap(costs, inbox, np.negative, 1):
        runs += 1
    assert runs == pytest.approx(BUDGET_S / (HOP_S / 2), abs=1)
    assert not is_cheap(costs, inbox, np.negative, 1)


async def test_the_next_turn_has_a_budget_of_its_own(inbox: Inbox) -> None:
    costs = Measured(CHEAP_S)
    costs.run(np.negative, (np.ones(1),), {})
    inbox.budget_s = 0.0
    assert not is_cheap(costs, inbox, np.negative, 1)
    await asyncio.sleep(0)
    assert is_cheap(costs, inbox, np.negative, 1)


async def test_the_first_use_of_a_loop_begins_a_turn() -> None:
    """Its inbox has no budget yet."""
    costs = Measured(CHEAP_S)
    costs.run(np.negative, (np.ones(1),), {})
    inbox = Inbox(asyncio.get_running_loop())
    assert not is_cheap(costs, inbox, np.negative, 1)
    await asyncio.sleep(0)
    assert is_cheap(costs, inbox, np.negative, 1)


def test_one_kernel_in_sixteen_is_measured_on_a_pool_thread() -> None:
    costs = Costs()
    assert [costs.is_due() for _ in range(64)].count(True) == 4


# -- in a runtime


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Put costs that the test tells in the place of the process's own."""
    costs = Measured(CHEAP_S)
    monkeypatch.setattr(forks, "COSTS", costs)
    return costs


class Witness(asyncjit.Instrument):
    """Notes in which threads kernels run."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def strand_started(self, fork: Any) -> None:
        self.threads.append(threading.get_ident())


async def threads_of_awaits(num: int, **settings: Any) -> list[int]:
    witness = Witness()
    async with asyncjit.Runtime(1, blas_threads=None, instruments=[witness], **settings) as runtime:
        for _ in range(num):
            await fork(np.negative, 1.0)
        await runtime.aclose()
    await asyncio.to_thread(assert_at_rest, runtime)
    return witness.threads


async def test_an_awaiting_task_runs_a_cheap_ufunc_itself(costs: Measured) -> None:
    costs.run(np.negative, (1.0,), {})
    threads = await threads_of_awaits(100)
    assert len(threads) == 100
    assert threading.get_ident() in threads


async def test_a_loop_stops_to_run_a_ufunc_itself_after_one_overrun(costs: Measured) -> None:
    costs.run(np.negative, (1.0,), {})
    costs.durations = [DEAR_S]
    assert (await threads_of_awaits(100)).count(threading.get_ident()) <= 1


async def test_a_setting_keeps_every_kernel_off_the_loop(costs: Measured) -> None:
    costs.run(np.negative, (1.0,), {})
    assert threading.get_ident() not in await threads_of_awaits(100, loop_runs_cheap=False)
