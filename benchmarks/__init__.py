"""Benchmarks: asyncjit and its peers, measured in turn in one run; `make bench`, or `python -m benchmarks.fork_wait`.

They print ratios beside their targets and judge nothing: absolute times drift by 10-20 % from run to run, so only
what was measured in the same run is compared.

Where things are
----------------
harness         interleaved rounds, workers in fresh interpreters, the table, the JSON
fork_wait       the cost of a fork and its wait: script, event loop, memory
profiler        what a profile costs, off and on; a million strands
prediction      predictions from a profile on one lane, held against runs on two
graph           traced graphs and scripted functions, beside the same work by hand
ensemble        the tutorial's ensemble of LSTMs, serial and forked
kernels         products with weights, layers and calls split over two threads, beside NumPy and torch
stacked         many small recurrent modules as one, beside the loop over them
pinyin          sentences to pinyin, beside g2pM's own predict
import_time     what `import asyncjit` adds to NumPy's import
torch_peers     what torch does in them, where it is installed
uninstrumented  a copy of asyncjit without the profiler's hooks, to see what they cost
"""
