"""The Python blocks of README and docs do what they say.

The blocks of a page run in order and share their names. A fence whose info string is exactly ``python``
runs: as a doctest where it starts with ``>>>``, else as a script; a ``text`` fence that comes next, with at
most one line of prose between, is what that script has to print (``...`` stands for anything). A fence that
is shown but not run says ``python norun``. A page runs in an empty folder, and the default runtime is closed
behind it.
"""

import doctest
import linecache
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import asyncjit
from tests.at_rest import PATIENCE_S

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

FENCE = re.compile(r"^```(?P<info>[^`\n]*)\n(?P<body>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A Python fence: its source, the line it starts on (from 0), and what it has to print, if stated."""

    source: str
    line: int
    printed: str | None


def blocks_of(text: str) -> list[Block]:
    """Return the fences of a page that run."""
    fences = list(FENCE.finditer(text))
    blocks = []
    for fence, following in zip(fences, [*fences[1:], None], strict=False):
        if fence["info"].strip() != "python":
            continue
        printed = None
        if following is not None and following["info"].strip() == "text":
            between = text[fence.end() : following.start()].split("\n")
            if sum(1 for line in between if line.strip()) <= 1:
                printed = following["body"]
        blocks.append(Block(fence["body"], text.count("\n", 0, fence.start("body")), printed))
    return blocks


def run_page(text: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a page's blocks; raise AssertionError where one does not print what the page says."""
    names: dict[str, Any] = {"__name__": "__main__"}
    blocks = blocks_of(text)
    source = scripts_of(blocks)
    # As notebooks do for their cells, for `script` reads the source of functions; the page itself is no Python.
    linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
    for block in blocks:
        if is_doctest(block):
            run_doctest(block, name, names)
        else:
            # The empty lines make tracebacks point into the page.
            exec(compile("\n" * block.line + block.source, name, "exec"), names)
            printed = capsys.readouterr().out
            if block.printed is not None and not matches(block.printed, printed):
                raise AssertionError(f"{name}, line {block.line + 1} prints\n{printed}\nnot\n{block.printed}")


def is_doctest(block: Block) -> bool:
    """Whether a block is made of prompts."""
    return block.source.lstrip().startswith(">>>")


def scripts_of(blocks: list[Block]) -> str:
    """Return the scripts of a page, each at its line."""
    source = ""
    for block in blocks:
        if not is_doctest(block):
            source += "\n" * (block.line - source.count("\n")) + block.source
    return source


def run_doctest(block: Block, name: str, names: dict[str, Any]) -> None:
    """Run a block of prompts, and keep the names it makes."""
    test = doctest.DocTestParser().get_doctest(block.source, names, name, name, block.line)
    runner = doctest.DebugRunner(optionflags=OPTIONS)
    try:
        runner.run(test, clear_globs=False)
    except doctest.DocTestFailure as failure:
        line = block.line + failure.example.lineno + 1
        raise AssertionError(f"{name}, line {line} gives\n{failure.got}\nnot\n{failure.example.want}") from None
    except doctest.UnexpectedException as unexpected:
        raise unexpected.exc_info[1] from None
    names.update(test.globs)  # a doctest runs in a copy


def matches(want: str, got: str) -> bool:
    """Compare as doctest does."""
    return doctest.OutputChecker().check_output(want, got, OPTIONS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_python_block_runs_and_prints_what_the_page_says(
    page: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # for what a page writes
    try:
        run_page(page.read_text(encoding="utf-8"), str(page), capsys)
    finally:
        asyncjit.close(cancel=True, timeout=PATIENCE_S)  # what a page sets on the default runtime ends with it


def test_blocks_share_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    page = "```python\nx = 1\n```\n\n```python\n>>> x + 1\n2\n>>> y = x\n```\n\n```python\nassert y == 1\n```\n"
    run_page(page, "page.md", capsys)


def test_a_wrong_doctest_is_found_at_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError, match=r"page\.md, line 4 gives\s+2\s+not\s+3"):
        run_page("# Sums\n\n```python\n>>> 1 + 1\n3\n```\n", "page.md", capsys)


def test_a_function_has_its_source_at_the_lines_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    page = "```python\ndef one():\n    return 1\n```\n\n```python\n>>> one()\n1\n```\n\n```python\ntwo = 2\n```\n"
    run_page(page, "page.md", capsys)
    assert linecache.getlines("page.md")[1:3] == ["def one():\n", "    return 1\n"]
    assert linecache.getline("page.md", 12) == "two = 2\n"


def test_a_script_is_held_to_the_text_fence_after_it(capsys: pytest.CaptureFixture[str]) -> None:
    page = "```python\nprint('took', 12, 'ms')\n```\n\nprints\n\n```text\n{}\n```\n"
    run_page(page.format("took ... ms"), "page.md", capsys)
    with pytest.raises(AssertionError, match=r"page\.md, line 2 prints\s+took 12 ms\s+not\s+took 13 ms"):
        run_page(page.format("took 13 ms"), "page.md", capsys)


def test_an_error_in_a_block_surfaces_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        run_page("```python\n1 / 0\n```\n", "page.md", capsys)
    with pytest.raises(ZeroDivisionError):
        run_page("```python\n>>> 1 / 0\n```\n", "page.md", capsys)


def test_fences_of_other_kinds_do_not_run() -> None:
    assert blocks_of("```python norun\n1 / 0\n```\n```console\n$ make demo\n```\n") == []
