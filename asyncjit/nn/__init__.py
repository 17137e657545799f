"""Neural network modules on NumPy arrays, with torch's names, parameter layouts and texts.

A model is a tree of `Module` objects whose `forward` computes on arrays; whether it does so on the caller's
thread, on the pool or as a coroutine is decided by who calls it (`fork`, `call`, or plain `module(x)`), so
nothing here knows the runtime. There is no autograd: modules are for inference, with weights that
`load_state_dict` takes from elsewhere.

Where things are
----------------
module      Module: what is a parameter, how a module is called, state dicts, the repr tree
containers  ModuleList, ModuleDict, Sequential
linear      Linear
recurrent   LSTM
lstm_steps  the arithmetic of one direction of an LSTM layer
loading     how a state dict's values get into a module's arrays
initial     torch's default initialisation
arguments   checks of what constructors are given
"""

from asyncjit.nn.containers import ModuleDict, ModuleList, Sequential
from asyncjit.nn.linear import Linear
from asyncjit.nn.loading import IncompatibleKeys
from asyncjit.nn.module import Module
from asyncjit.nn.recurrent import LSTM

__all__ = [
    "LSTM",
    "IncompatibleKeys",
    "Linear",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Sequential",
]
