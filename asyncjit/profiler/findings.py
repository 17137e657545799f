"""What a report shows: a profile's records, and what analysis and prediction made of them.

Values only, all computed before: neither the page nor the notebook's fragment computes an analysis, so both say exactly
what `Results` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from asyncjit.profiler.critical import PathPiece
from asyncjit.profiler.explanation import Cause
from asyncjit.profiler.prediction import Prediction
from asyncjit.profiler.records import Records
from asyncjit.profiler.table import EventList


@dataclass(frozen=True)
class Findings:
    """What a report shows.

    Attributes
    ----------
    records : Records
        They give the timeline.
    causes : sequence of Cause
        The explanation, most important first.
    path : sequence of PathPiece
        The critical path in the order of time.
    curve : sequence of Prediction
        The prediction, by the number of lanes.
    functions : EventList
        What `key_averages` returns, in any order.
    work_s, span_s, parallelism : float
        T1, T_inf and their quotient.
    utilisation : float
        The lanes' busy share of the time, 0 to 1.
    measured : Prediction or None
        The profile itself as a point beside the curve.
    """

    records: Records
    causes: Sequence[Cause] = ()
    path: Sequence[PathPiece] = ()
    curve: Sequence[Prediction] = ()
    functions: EventList = field(default_factory=EventList)
    work_s: float = 0.0
    span_s: float = 0.0
    parallelism: float = 1.0
    utilisation: float = 0.0
    measured: Prediction | None = None
