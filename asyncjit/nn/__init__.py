"""Neural network modules on NumPy arrays, with torch's names, parameter layouts and texts.

A model is a tree of `Module` objects whose `forward` computes on arrays; whether it does so on the caller's
thread, on the pool or as a coroutine is decided by who calls it (`fork`, `call`, or plain `module(x)`), so
nothing here knows the runtime. There is no autograd: modules are for inference, with weights that
`load_state_dict` takes from elsewhere.

Where things are
----------------
module      Module: what is a parameter, how a module is called, state dicts, the repr tree
containers  ModuleList, ModuleDict, Sequential
layer       Layer: modules whose parameters are read-only
linear      Linear
lstm, gru   LSTM, LSTMCell; GRU, GRUCell
recurrent   what these have in common
sequence    one direction of one recurrent layer over a sequence, and how it is split
cells       the arithmetic of one step after its products
packing     products with weights that stay: panels
memory      where arrays lie: aligned, read-only
loading     how a state dict's values get into a module's arrays
initial     torch's default initialisation
arguments   checks of what constructors are given
"""

from asyncjit._core.products import get_product_form, set_product_form
from asyncjit.nn.containers import ModuleDict, ModuleList, Sequential
from asyncjit.nn.gru import GRU, GRUCell
from asyncjit.nn.layer import Layer
from asyncjit.nn.linear import Linear
from asyncjit.nn.loading import IncompatibleKeys
from asyncjit.nn.lstm import LSTM, LSTMCell
from asyncjit.nn.module import Module

__all__ = [
    "GRU",
    "LSTM",
    "GRUCell",
    "IncompatibleKeys",
    "LSTMCell",
    "Layer",
    "Linear",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Sequential",
    "get_product_form",
    "set_product_form",
]
