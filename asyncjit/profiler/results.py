"""What a profile tells, whether it has just been recorded or was read from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from asyncjit.profiler import analysis, averages, critical, prediction
from asyncjit.profiler.chrome import write_trace
from asyncjit.profiler.critical import PathPiece
from asyncjit.profiler.explanation import Explanation, explain
from asyncjit.profiler.findings import Findings
from asyncjit.profiler.inflation import FunctionLoad, function_loads
from asyncjit.profiler.notebook import repr_html
from asyncjit.profiler.prediction import Prediction
from asyncjit.profiler.records import OUTSIDE, STATES, UNKNOWN, Records, Strand, Task, Wait
from asyncjit.profiler.report import write_report
from asyncjit.profiler.saved import read_trace
from asyncjit.profiler.stacks import write_stacks
from asyncjit.profiler.summary import summary
from asyncjit.profiler.table import EventList


class Results:
    """The questions that records can answer. Times in nanoseconds (`_ns`) or seconds (`_s`)."""

    @property
    def records(self) -> Records:
        """All that was recorded, in tables."""
        raise NotImplementedError

    # -- one by one

    def events(self) -> list[Strand]:
        """Return all strands of forks, and ranges, by lane and start, outer before inner; on one lane they nest."""
        records = self.records
        names = records.names
        name_of = records.tasks["name"].tolist()
        found = [
            (lane, start_ns, -end_ns, 0, Strand(names[name_of[task]], lane, start_ns, end_ns, task, _known(cpu_ns)))
            for task, lane, start_ns, end_ns, cpu_ns in records.strands.tolist()
            if task != OUTSIDE
        ]
        found += [
            (lane, start_ns, -end_ns, order, Strand(names[name], lane, start_ns, end_ns, None))
            for order, (name, _, lane, start_ns, end_ns) in enumerate(records.ranges.tolist(), 1)
        ]
        return [strand for *_, strand in sorted(found, key=lambda item: item[:4])]

    def tasks(self) -> list[Task]:
        """Return the forks in the order of their making."""
        records = self.records
        started = analysis.first_starts_ns(records).tolist()
        return [
            Task(
                number=number,
                name=records.names[name],
                site=records.sites[site],
                parent=parent or None,
                lane=lane,
                forked_ns=forked_ns,
                started_ns=_known(started[number]),
                ended_ns=_known(ended_ns),
                state=STATES[state],
            )
            for number, (name, site, _, parent, lane, state, _, forked_ns, ended_ns) in enumerate(
                records.tasks.tolist()[1:], 1
            )
        ]

    def waits(self) -> list[Wait]:
        """Return the waits, by their ends; those that are not over come last."""
        return [
            Wait(task or None, _known(target), lane, start_ns, _known(end_ns))
            for task, target, lane, start_ns, end_ns in self.records.waits.tolist()
        ]

    # -- as a whole

    @property
    def duration_ns(self) -> int:
        """How long it recorded; so far, if it still does."""
        return self.records.duration_ns

    @property
    def work_s(self) -> float:
        """The work T1: what all strands took together, in seconds."""
        return analysis.work_ns(self.records) / 1e9

    @property
    def span_s(self) -> float:
        """The span T∞: what the program would take on any number of lanes, in seconds."""
        return critical.span_ns(self.records) / 1e9

    @property
    def burdened_span_s(self) -> float:
        """The span with what each fork costs on it, as this profile shows it, in seconds."""
        return critical.span_ns(self.records, analysis.burden_ns(self.records)) / 1e9

    @property
    def parallelism(self) -> float:
        """Work by span: how many lanes the program could keep busy."""
        return analysis.parallelism(self.records)

    def utilisation(self) -> float:
        """Return the share of the lanes' time in which kernels executed, 0 to 1."""
        return analysis.lanes_utilisation(self.records)

    def max_running(self) -> int:
        """Return how many forks executed at once, at most."""
        return analysis.max_running(self.records)

    def critical_path(self) -> list[PathPiece]:
        """Return the pieces of the longest path, in order; their lengths add up to the span."""
        return critical.critical_path(self.records)

    def predict(self, num_lanes: int) -> Prediction:
        """Predict what the block would take on `num_lanes` lanes.

        A profile on one lane knows nothing of what lanes take from each other, unless it had a rival for the GIL.

        Raises
        ------
        ValueError
            If `num_lanes` is not positive.
        """
        return prediction.predict(self.records, num_lanes)

    def what_if(self, fn: str | Callable[..., Any], factor: float, num_lanes: int | None = None) -> Prediction:
        """Predict what the block would take if the code of `fn` itself ran `factor` times faster.

        Parameters
        ----------
        fn : str or callable
            A name as the profile shows it, or the function that was forked.
        factor : float
            Above 0; 2 stands for half the time, `math.inf` for none.
        num_lanes : int, optional
            By default as many as the profile was recorded with.

        Raises
        ------
        ValueError
            If no fork has that name, or `factor` or `num_lanes` is not positive.
        """
        return prediction.what_if(self.records, fn, factor, num_lanes)

    def key_averages(self, group_by_input_shape: bool = False) -> EventList:
        """Return what each function cost, calls added up; `.table()` shows it in torch's columns.

        Parameters
        ----------
        group_by_input_shape : bool
            Have a row for each shape of arguments; `profile(record_shapes=True)` notes them.
        """
        return averages.key_averages(self.records, group_by_input_shape=group_by_input_shape)

    def function_loads(self) -> list[FunctionLoad]:
        """Return what each function's strands took and lost, alone and beside others, the longest first."""
        return function_loads(self.records)

    def explain(self) -> Explanation:
        """Return what bounds the program, in five sentences at most; printed, they are text."""
        return explain(self.records)

    def summary(self) -> str:
        """Return a screenful of text: key figures, explanation, functions, critical path, predictions."""
        return summary(self._findings())

    # -- to look at, and to keep

    def report(self, path: str | Path, *, title: str = "asyncjit: parallelism") -> None:
        """Write one HTML page, which needs no network: timeline, speed-up curve, tables, explanation.

        Parameters
        ----------
        path : str or Path
            A file that is there is overwritten.
        title : str
            The page's heading.

        Raises
        ------
        ModuleNotFoundError
            Without plotly: `pip install 'asyncjit[report]'`.
        OSError
            If the file can't be written.
        """
        write_report(path, self._findings(), title=title)

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        return repr_html(self._findings())

    def _findings(self) -> Findings:
        records = self.records
        curve = prediction.curve(records)
        time_s = records.duration_ns / 1e9
        return Findings(
            records=records,
            causes=explain(records),
            path=critical.critical_path(records),
            curve=curve,
            functions=averages.key_averages(records),
            work_s=self.work_s,
            span_s=self.span_s,
            parallelism=self.parallelism,
            utilisation=self.utilisation(),
            measured=Prediction(records.num_lanes, time_s, curve[0].time_s / max(time_s, 1e-9)),
        )

    def export_chrome_trace(self, path: str | Path) -> None:
        """Write the profile as a Chrome trace, for ui.perfetto.dev, chrome://tracing and `asyncjit view`.

        Parameters
        ----------
        path : str or Path
            Ends in `.json` or `.json.gz`. A file that is there is overwritten.

        Raises
        ------
        ValueError
            For any other ending.
        OSError
            If the file can't be written.
        """
        write_trace(path, self.records)

    def export_stacks(self, path: str | Path, metric: str = "self_wall_time_total") -> None:
        """Write folded stacks, for flamegraph.pl and speedscope: one line for each chain of who forked whom.

        Parameters
        ----------
        path : str or Path
            A file that is there is overwritten.
        metric : str
            `self_wall_time_total`, or torch's `self_cpu_time_total`; in microseconds.

        Raises
        ------
        ValueError
            For any other metric.
        """
        write_stacks(path, self.records, metric)


class SavedProfile(Results):
    """A profile that was read from a file."""

    def __init__(self, records: Records) -> None:
        self._records = records

    @property
    def records(self) -> Records:
        """All that was recorded, in tables."""
        return self._records


def load(path: str | Path) -> SavedProfile:
    """Read a profile from a trace that `export_chrome_trace` has written.

    Raises
    ------
    ValueError
        If the file is empty, damaged, of another program or of a newer version of asyncjit.
    OSError
        If it can't be read.
    """
    return SavedProfile(read_trace(path))


def _known(value: int) -> int | None:
    return None if value == UNKNOWN else value
