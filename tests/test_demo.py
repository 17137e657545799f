"""The demo: the forms of one ensemble, and their measuring."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asyncjit import demo, sync
from asyncjit.profiler import Cause, profile

SIZE = demo.Size(steps=3, batch=2, hidden=4, models=2)


def test_the_serial_form_is_the_textbook_sum_of_both_directions() -> None:
    serial: Any = demo.make_forms(SIZE)[demo.SERIAL]
    x = demo.make_input(SIZE)
    expected = sum(
        np.concatenate((model.cell_f(x)[0], model.cell_b(x[::-1])[0][::-1]), axis=2) for model in serial.models
    )
    np.testing.assert_allclose(serial(x), expected, rtol=1e-6)


def test_all_forms_have_the_same_output_bit_for_bit(runtime: sync.Runtime) -> None:
    forms = demo.make_forms(SIZE)
    x = demo.make_input(SIZE)
    with asyncio.Runner() as runner:
        outputs = {form: demo.run(model, x, runner) for form, model in forms.items()}
    assert list(outputs) == list(demo.FORMS)
    for output in outputs.values():
        assert output.shape == (3, 2, 8)
        np.testing.assert_array_equal(output, outputs[demo.SERIAL])


def test_a_run_is_a_fork_of_the_current_runtime_and_forks_as_its_form_does(runtime: sync.Runtime) -> None:
    forms = demo.make_forms(SIZE)
    x = demo.make_input(SIZE)
    num_forks = {}
    with asyncio.Runner() as runner:
        for form, model in forms.items():
            before = runtime.statistics().forked
            demo.run(model, x, runner)
            num_forks[form] = runtime.statistics().forked - before
    # The whole; a layer of each model; each model and a layer of it; each model, both its directions, and the sum.
    assert num_forks == {
        demo.SERIAL: 1,
        "serial, layers split": 1,
        "forward/backward forked": 3,
        "everything forked": 5,
        "async models": 8,
    }


def test_input_and_models_are_the_same_each_time() -> None:
    first, second = (demo.make_forms(SIZE)[demo.SERIAL](demo.make_input(SIZE)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert demo.make_input(SIZE).dtype == np.float32


class Doubling(demo.Ensemble):
    """A form whose output differs."""

    def forward(self, x: demo.Array) -> demo.Array:
        return 2 * super().forward(x)


def test_a_form_whose_output_differs_is_told_of(runtime: sync.Runtime) -> None:
    serial: Any = demo.make_forms(SIZE)[demo.SERIAL]
    forms = {"serial": serial, "doubled": Doubling(serial.models)}
    rows = demo.measure(forms, demo.make_input(SIZE), rounds=2)
    assert [(row.form, row.is_identical) for row in rows] == [("serial", True), ("doubled", False)]


def test_measuring_runs_the_forms_in_turn_and_compares_with_the_first(runtime: sync.Runtime) -> None:
    begun: list[str] = []
    profiles: list[tuple[str, profile]] = []
    forms = demo.make_forms(SIZE)
    rows = demo.measure(
        forms,
        demo.make_input(SIZE),
        rounds=2,
        progress=begun.append,
        on_profile=lambda form, prof: profiles.append((form, prof)),
    )
    assert begun == ["warm-up", *forms, *forms]
    assert [row.form for row in rows] == list(forms)
    assert all(row.is_identical for row in rows)
    assert rows[0].speedup == 1
    for row in rows:
        assert row.speedup == pytest.approx(rows[0].seconds / row.seconds)
        assert 0 < row.utilisation <= 1
    assert [form for form, _ in profiles] == [*forms, *forms]
    names = [task.name for task in dict(profiles)[demo.PROFILED].tasks()]
    assert names.count("ForkedLSTM") == SIZE.models, "everything is forked"


def test_the_result_for_machines_holds_plain_values() -> None:
    row = demo.Row(form="serial", seconds=2.0, speedup=1.0, utilisation=0.5, is_identical=True)
    cause = Cause("cell_b is one long path", 0.5, "split it")
    result = demo.as_json(SIZE, 3, [row], explanation=[cause], files=[Path("here", "trace.json")])
    assert json.loads(json.dumps(result)) == {
        "size": {"steps": 3, "batch": 2, "hidden": 4, "models": 2},
        "num_interop_threads": 3,
        "forms": [{"form": "serial", "seconds": 2.0, "speedup": 1.0, "utilisation": 0.5, "is_identical": True}],
        "explanation": [{"text": "cell_b is one long path", "share": 0.5, "advice": "split it", "name": ""}],
        "files": [str(Path("here", "trace.json"))],
    }
