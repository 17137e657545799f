"""The profiler: see the overlap. Stands for `torch.autograd.profiler`.

recording.py   profile, record_function
records.py     what a profile tells, as plain records
chrome.py      the trace that Perfetto and chrome://tracing show
"""

from asyncjit.profiler.recording import profile, record_function
from asyncjit.profiler.records import Strand, Task

__all__ = ["Strand", "Task", "profile", "record_function"]
