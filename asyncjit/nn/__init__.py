"""Neural network modules on NumPy arrays, with torch's names, parameter layouts and texts.

A model is a tree of `Module` objects whose `forward` computes on arrays; whether it does so on the caller's
thread, on the pool or as a coroutine is decided by who calls it (`fork`, `call`, or plain `module(x)`), so
nothing here knows the runtime. There is no autograd: modules are for inference, with weights that
`load_state_dict` takes from elsewhere.

Where things are
----------------
module         Module: what is a parameter, how a module is called, state dicts, the repr tree
containers     ModuleList, ModuleDict, Sequential
layer          Layer: modules whose parameters are read-only
linear         Linear
lstm, gru      LSTM, LSTMCell; GRU, GRUCell
recurrent      what these have in common
sequence       one direction of one recurrent layer over a sequence, and how it is split
cells          the arithmetic of the steps after their products
packing        products with weights that stay: panels
memory         where arrays lie: aligned, read-only
embedding      Embedding
normalization  LayerNorm; softmax
convolution    Conv1d
padding        what Conv1d puts before and behind its input
dropout        Dropout, the identity
activations    ReLU, GELU, Softmax and others, as modules
functional     the same and other functions on plain arrays
blocks         kernels over blocks of an array
operations     functions that a tracer takes as one operation, and shapes without values
stacked        Stacked: many small modules of the same shape run as one
stacked_forms  how it computes, by class of modules
stacked_steps  the recurrent steps of all modules at once
weights        load, save: state dicts in files
from_torch     from_torch: a torch module made anew of these layers
loading        how a state dict's values get into a module's arrays
initial        torch's default initialisation
arguments      checks of what constructors are given
"""

from asyncjit._core.products import get_product_form, set_product_form
from asyncjit.nn import functional
from asyncjit.nn.activations import (
    ELU,
    GELU,
    Hardtanh,
    Identity,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from asyncjit.nn.containers import ModuleDict, ModuleList, Sequential
from asyncjit.nn.convolution import Conv1d
from asyncjit.nn.dropout import Dropout
from asyncjit.nn.embedding import Embedding
from asyncjit.nn.from_torch import from_torch
from asyncjit.nn.gru import GRU, GRUCell
from asyncjit.nn.layer import Layer
from asyncjit.nn.linear import Linear
from asyncjit.nn.loading import IncompatibleKeys
from asyncjit.nn.lstm import LSTM, LSTMCell
from asyncjit.nn.module import Module
from asyncjit.nn.normalization import LayerNorm
from asyncjit.nn.stacked import Stacked
from asyncjit.nn.weights import load, save

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "Conv1d",
    "Dropout",
    "Embedding",
    "GRUCell",
    "Hardtanh",
    "Identity",
    "IncompatibleKeys",
    "LSTMCell",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "Module",
    "ModuleDict",
    "ModuleList",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Stacked",
    "Tanh",
    "from_torch",
    "functional",
    "get_product_form",
    "load",
    "save",
    "set_product_form",
]
