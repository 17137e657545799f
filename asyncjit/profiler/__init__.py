"""The profiler: see the overlap, and why there is not more. Stands for `torch.autograd.profiler` and `torch.profiler`.

Recording
    recording.py    profile: notes what happens
    ranges.py       record_function: names for stretches of code
    schedules.py    which steps of a long run are recorded
    notes.py        the notes, by thread
    machine.py      what the processors did meanwhile
    rivalry.py      a rival for the GIL, so that one lane tells what two would lose
What the notes say
    timeline.py     from notes to records
    tracks.py       threads as lanes, forks as rows
    lanes.py        strands and ranges that nest
    waits.py        who waited for whom
    outside.py      when the code outside of forks ran
    tables.py       searching in tables
    records.py      the records: tables, and plain values
What follows
    results.py      one method for each question; profiles that are read back
    program.py      what each task did, step by step
    critical.py     span and critical path
    analysis.py     work, utilisation, concurrency, what a fork costs
    inflation.py    what each function costs and loses, alone and under load
    overheads.py    what forks, hops and wake-ups took
    contention.py   what threads take from each other
    plan.py         the program laid out for a simulation
    simulation.py   a program on other lanes
    prediction.py   predict, what_if
    accounts.py     where the lanes' time went; moments.py: what ran side by side, moment by moment
    explanation.py  why it is not faster, in sentences; causes.py: each cause in words
    calls.py        the tree of calls, with what each executed itself
    averages.py     key_averages: what each function cost
    table.py        which is shown in torch's form
Files and pages
    chrome.py       the trace that Perfetto and chrome://tracing show
    slices.py       what stands on its lanes; arrows.py and counters.py: what stands between and below them
    saved.py        the records in it, and reading them back
    stacks.py       folded stacks, for flame graphs
    report.py       the HTML page; page.py, report.css, report.js, timeline_figure.py, cells.py, speedup_figure.py
    notebook.py     the same, small, in a notebook
    summary.py      the same as plain text
    findings.py     what both of them show
    viewer.py       serves the Perfetto UI
    texts.py        times and shares as people read them
"""

from asyncjit.profiler.critical import PathPiece
from asyncjit.profiler.explanation import Cause, Explanation
from asyncjit.profiler.inflation import FunctionLoad, Stretches
from asyncjit.profiler.prediction import Prediction
from asyncjit.profiler.ranges import record_function
from asyncjit.profiler.recording import profile
from asyncjit.profiler.records import Strand, Task, Wait
from asyncjit.profiler.results import Results, SavedProfile, load
from asyncjit.profiler.schedules import ProfilerAction, schedule
from asyncjit.profiler.table import EventList, FunctionEventAvg

__all__ = [
    "Cause",
    "EventList",
    "Explanation",
    "FunctionEventAvg",
    "FunctionLoad",
    "PathPiece",
    "Prediction",
    "ProfilerAction",
    "Results",
    "SavedProfile",
    "Strand",
    "Stretches",
    "Task",
    "Wait",
    "load",
    "profile",
    "record_function",
    "schedule",
]
