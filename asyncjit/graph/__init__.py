"""Graphs of traced programs: to look at, to change, and to run.

Where things are, from the bottom up:

- `trees`: nested arguments and results, and the templates that stand for their structure;
- `printer`, `dot`: a graph as text, in TorchScript's form or for Graphviz;
- `ir`: `Graph`, `Node`, `Value` and the types;
- `copying`, `inlining`, `pruning`: the passes, which return new graphs;
- `steps`, `scheduling`, `plan`: what is worked out once so that a graph runs quickly;
- `interpreter`: `Interpreter`, which runs it;
- `costs`, `chains`, `report`, `auto_forking`: the pass that forks what is independent;
- `dummies`, `shapes`, `rules`, `showing`: the types of results, without computing them;
- `writing`, `errstates`: calls that write, and calls within `np.errstate`, as pure ones;
- `tracer`, `methods`, `functions`, `futures`: what stands for arrays and futures while tracing;
- `memories`, `writing`, `constants`, `errstates`: who shares memory, in-place operations, plain arrays, `np.errstate`;
- `recording`, `bodies`, `places`, `constants`: what is done to them becomes nodes, with their places in the user's
  code, and plain arrays become constants;
- `tracing`, `checking`: `trace`, and whether its graph does what the program does.
"""

from asyncjit.graph.auto_forking import auto_fork
from asyncjit.graph.inlining import inline_fork_wait
from asyncjit.graph.interpreter import Interpreter
from asyncjit.graph.ir import Graph, Node, Value
from asyncjit.graph.pruning import dead_code

__all__ = ["Graph", "Interpreter", "Node", "Value", "auto_fork", "dead_code", "inline_fork_wait"]
