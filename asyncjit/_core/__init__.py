"""The runtime: how a fork travels. Names are public through `asyncjit` and `asyncjit.sync` only."""
