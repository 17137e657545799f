"""Sphinx: MyST pages, and a reference made from numpydoc docstrings. Built with warnings as errors."""

from typing import Any

from pygments.lexers.special import TextLexer

import asyncjit

project = "asyncjit"
author = "asyncjit contributors"
copyright = "asyncjit contributors"
version = release = asyncjit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = False
napoleon_use_rtype = False

suppress_warnings = ["ref.python"]  # a name behind both doors, asyncjit and asyncjit.sync, has two homes

html_theme = "furo"
html_title = f"asyncjit {release}"


def setup(app: Any) -> None:
    app.add_lexer("layers", TextLexer)  # the table in explanation/design.md, read by tests/test_layers.py
