"""Scripts in a process of their own that end: with kernels stuck or queued, forked off, or interrupted."""

PRELUDE = """
import asyncio, contextlib, gc, os, signal, sys, threading
import asyncjit
from asyncjit import Future, Runtime, check_cancelled, current_runtime, fork, sync
from asyncjit.errors import ForkCancelled, InvalidStateError, RuntimeClosed
from tests.at_rest import PATIENCE_S, until

def stuck(started=threading.Event()):
    started.set()
    threading.Event().wait()

def spin():
    while True:
        pass

def started(fn, *args):
    future = fork(fn, *args)
    until(future.running)
    return future
"""


def script(body: str) -> str:
    """Put the prelude before a script's own lines."""
    return f"{PRELUDE}\n{body}"
