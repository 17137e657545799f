"""Folded stacks: a line for each chain of forks, with its own time."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjit.profiler.records import STRAND, TASK, UNKNOWN, Records
from asyncjit.profiler.stacks import MAX_DEPTH, write_stacks
from tests.profiler.handmade import handmade

US = 1000


def written(records: Records, path: Path, metric: str = "self_wall_time_total") -> list[str]:
    write_stacks(path / "out.folded", records, metric)
    return (path / "out.folded").read_text(encoding="utf-8").split("\n")[:-1]


def program(*, cpu_ns: int | None = None) -> Records:
    """A script that forks `a` twice; both fork `b`, the second `a` and `c` too."""
    measured = () if cpu_ns is None else (cpu_ns,)
    return handmade(
        [("a", 0, 0), ("a", 0, 0), ("b", 1, 0), ("b", 2, 0), ("a", 2, 0), ("c", 2, 0)],
        [
            (0, 0, 0, 5 * US, *measured),
            (1, 1, 0, 2 * US, *measured),
            (2, 2, 0, 3 * US, *measured),
            (3, 1, 2 * US, 6 * US, *measured),
            (4, 2, 3 * US, 3 * US + 1999, *measured),
            (2, 2, 6 * US, 7 * US, *measured),
            (6, 1, 6 * US, 6 * US + 999, *measured),
        ],
    )


def test_there_is_a_line_for_each_chain_of_names_with_its_own_time(tmp_path: Path) -> None:
    assert written(program(), tmp_path) == [
        "(outside of forks) 5",
        "(outside of forks);a 6",
        "(outside of forks);a;b 5",
    ]


def test_the_times_are_the_strands_or_the_cpus(tmp_path: Path) -> None:
    assert written(program(cpu_ns=600), tmp_path, "self_cpu_time_total") == [
        "(outside of forks);a 1",
        "(outside of forks);a;b 1",
    ]


def test_strands_without_cpu_time_count_as_nothing_among_others(tmp_path: Path) -> None:
    records = program(cpu_ns=1000)
    records.strands["cpu_ns"][records.strands["task"] == 0] = UNKNOWN
    assert written(records, tmp_path, "self_cpu_time_total")[0] == "(outside of forks);a 3"


def test_without_any_cpu_time_the_metric_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="measured no CPU times: use metric='self_wall_time_total'"):
        written(program(cpu_ns=UNKNOWN), tmp_path, "self_cpu_time_total")
    assert not (tmp_path / "out.folded").exists()


def test_another_metric_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    message = "metric must be one of self_wall_time_total, self_cpu_time_total, got 'self_cuda_time_total'"
    with pytest.raises(ValueError, match=message):
        written(program(), tmp_path, "self_cuda_time_total")


def test_names_are_made_harmless(tmp_path: Path) -> None:
    records = replace(program(), names=("a;b\nc", "d e\r\u2028f 7", "\ud800", "c"))
    assert written(records, tmp_path) == ["a_b_c 5", "a_b_c;d e__f 7 6", "a_b_c;d e__f 7;\\ud800 5"]


def test_an_empty_profile_has_no_lines(tmp_path: Path) -> None:
    assert written(handmade([], []), tmp_path) == []
    assert written(handmade([], []), tmp_path, "self_cpu_time_total") == []


def test_recursion_of_any_depth_is_written_up_to_a_limit(tmp_path: Path) -> None:
    depth = 100_000
    tasks = np.zeros(depth + 1, TASK)
    tasks["parent"] = np.arange(-1, depth)
    tasks["name"][1:] = 1 + np.arange(depth) % 2
    strands = np.zeros(depth + 1, STRAND)
    strands["task"] = np.arange(depth + 1)
    strands["end_ns"] = 2 * US
    lines = written(replace(handmade([], []), tasks=tasks, strands=strands, names=("x", "f", "g")), tmp_path)
    assert len(lines) == MAX_DEPTH + 1
    assert lines[3] == "x;f;g;f 2"
    assert lines[-2].count(";") == MAX_DEPTH - 1
    assert lines[-1].endswith(f";f;(deeper) {2 * (depth + 1 - MAX_DEPTH)}")


@given(st.lists(st.tuples(st.sampled_from("fg"), st.integers(0, 100), st.integers(0, 3000)), max_size=12))
def test_the_lines_are_the_chains_walked_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, int, int]]
) -> None:
    tasks = [(name, parent % (number + 1), 0) for number, (name, parent, _) in enumerate(drawn)]
    records = handmade(tasks, [(number, number, 0, lasts) for number, (*_, lasts) in enumerate(drawn, 1)])
    expected: Counter[str] = Counter()
    for number, (*_, lasts) in enumerate(drawn, 1):
        chain = []
        while number:
            chain.append(tasks[number - 1][0])
            number = tasks[number - 1][1]
        expected[";".join(["(outside of forks)", *reversed(chain)])] += lasts
    lines = written(records, tmp_path_factory.mktemp("stacks"))
    found = {match[1]: int(match[2]) for match in (re.fullmatch(r"(.*) (\d+)", line) for line in lines) if match}
    assert len(found) == len(lines)
    assert found == {chain: lasts // US for chain, lasts in expected.items() if lasts >= US}
