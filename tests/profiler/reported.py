"""Findings to report in tests: a few strands by hand, or as many as one likes."""

from __future__ import annotations

import numpy as np

from asyncjit.profiler.critical import PathPiece
from asyncjit.profiler.explanation import Cause
from asyncjit.profiler.findings import Findings
from asyncjit.profiler.prediction import Prediction
from asyncjit.profiler.records import FINISHED, RANGE, STRAND, TASK, WAIT, Lane, Records
from asyncjit.profiler.table import EventList, FunctionEventAvg
from tests.profiler.handmade import handmade

HOSTILE = "cell<script>alert('a')</script>&<b>"  #: what a lambda's qualified name may look like, and worse
CURVE = (Prediction(1, 0.1, 1.0), Prediction(2, 0.06, 1.7), Prediction(4, 0.05, 2.0), Prediction(128, 0.05, 2.0))


def few() -> Findings:
    """Return two forks on two lanes below a range of 0 to 100 µs; the path goes through the first."""
    us = 1000
    records = handmade(
        tasks=[(HOSTILE, 0, 10 * us), ("embed", 0, 20 * us)],
        strands=[
            (0, 0, 0, 20 * us),
            (1, 0, 20 * us, 90 * us, 35 * us),
            (2, 1, 25 * us, 65 * us),
            (0, 0, 90 * us, 100 * us),
        ],
        ranges=[("step", 0, 0, 0, 100 * us), ("inner", 0, 0, 5 * us, 15 * us)],
    )
    site = records.sites[1]
    return Findings(
        records,
        causes=(Cause(f"One path through {HOSTILE}.", 0.7, "Split it."), Cause("No advice for this.")),
        path=(
            PathPiece("(outside of forks)", "", 0, 0, 0, 20 * us),
            PathPiece(HOSTILE, site, 1, 0, 20 * us, 90 * us),
            PathPiece("(outside of forks)", "", 0, 0, 90 * us, 100 * us),
        ),
        curve=CURVE,
        functions=EventList(
            (
                FunctionEventAvg("embed", 1, 40.0, 40.0, 40.0, 40.0, 5.0),
                FunctionEventAvg(HOSTILE, 1, 70.0, 70.0, 35.0, 35.0, None),
                FunctionEventAvg("step", 2, 30.0, 140.0, None, None, None, is_user_annotation=True),
            )
        ),
        work_s=140e-6,
        span_s=100e-6,
        parallelism=1.4,
        utilisation=0.7,
        measured=Prediction(2, 100e-6, 1.4),
    )


def many(num_strands: int, num_lanes: int = 4, *, num_dropped: int = 0) -> Findings:
    """Return forks of ten functions, each one strand of 6 µs with 4 µs idle behind it; the path is lane 0."""
    each = num_strands // num_lanes
    lane = np.repeat(np.arange(num_lanes), each)
    strands = np.empty(len(lane), STRAND)
    strands["task"] = np.arange(1, len(lane) + 1)
    strands["lane"] = lane
    strands["start_ns"] = np.tile(np.arange(each) * 10_000, num_lanes)
    strands["end_ns"] = strands["start_ns"] + 6_000
    strands["cpu_ns"] = 5_000
    tasks = np.zeros(len(lane) + 1, TASK)
    tasks["name"][1:] = 1 + strands["task"] % 10
    tasks["site"][1:] = 1
    tasks["state"] = FINISHED
    names = ("(outside of forks)", *(f"layer_{n}" for n in range(10)))
    path = [
        PathPiece(names[1 + task % 10], "forked at model.py:7 in forward", task, 0, start_ns, start_ns + 6_000)
        for task, _, start_ns, *_ in strands[:each].tolist()
    ]
    records = Records(
        strands,
        tasks,
        np.empty(0, WAIT),
        np.empty(0, RANGE),
        names,
        ("", "forked at model.py:7 in forward"),
        (Lane("main"), *(Lane(f"lane {n}") for n in range(1, num_lanes))),
        each * 10_000,
        num_lanes,
        num_dropped=num_dropped,
    )
    return Findings(records, path=path, curve=CURVE, work_s=len(lane) * 6e-6, span_s=each * 6e-6, parallelism=num_lanes)


def empty() -> Findings:
    """Return a profile in which nothing ran."""
    return Findings(handmade([], []))
