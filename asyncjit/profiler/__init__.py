"""The profiler: see the overlap. Stands for `torch.autograd.profiler`.

recording.py   profile: notes what happens
ranges.py      record_function: names for stretches of code
timeline.py    what the notes say
records.py     which is told in plain records
chrome.py      the trace that Perfetto and chrome://tracing show
"""

from asyncjit.profiler.ranges import record_function
from asyncjit.profiler.recording import profile
from asyncjit.profiler.records import Strand, Task, Wait

__all__ = ["Strand", "Task", "Wait", "profile", "record_function"]
