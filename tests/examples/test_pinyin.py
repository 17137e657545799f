"""The pinyin example reads as g2pM itself does."""

from __future__ import annotations

import io
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asyncjit import sync
from tests.examples.loading import EXAMPLES, load_example
from tests.support import optional

EXAMPLE = EXAMPLES / "pinyin.py"


@pytest.fixture(scope="module")
def pinyin() -> ModuleType:
    optional("g2pM")
    return load_example(EXAMPLE)


@pytest.fixture(scope="module")
def reader(pinyin: ModuleType) -> Any:
    return pinyin.Reader()


@pytest.fixture(scope="module")
def oracle() -> Any:
    optional("g2pM")
    from g2pM import G2pM

    return G2pM()


def sentences(pinyin: ModuleType, reader: Any) -> list[str]:
    """Return 1,000: the example's own, others of their clauses, and strings of its dictionary's characters."""
    chance = random.Random(0)
    characters = list(reader.dictionary)
    ambiguous = [character for character, readings in reader.dictionary.items() if len(readings) > 1]
    own = [line for line in pinyin.SENTENCES.read_text(encoding="utf-8").splitlines() if line]
    clauses = [clause for line in own for clause in line.strip("。").split("，")]
    recombined = ["，".join(chance.sample(clauses, chance.randint(1, 5))) + "。" for _ in range(600 - len(own))]
    composed = [
        "".join(chance.choices(characters, k=chance.randint(1, 12)) + chance.choices(ambiguous, k=chance.randint(1, 6)))
        for _ in range(400)
    ]
    return own + recombined + composed


def test_the_output_is_g2pms_own_for_1000_sentences(pinyin: ModuleType, reader: Any, oracle: Any) -> None:
    lines = sentences(pinyin, reader)
    assert len(lines) == 1000
    assert len(set(map(len, lines))) > 20
    assert reader.read_all(lines) == [oracle(line, char_split=True) for line in lines]


def test_a_sentence_is_read_alone_as_beside_longer_and_shorter_ones(pinyin: ModuleType, reader: Any) -> None:
    lines = sentences(pinyin, reader)[::20]  # as they come, so that most are padded
    assert reader.read_batch(lines) == [reader.read(line) for line in lines]


def test_what_stands_behind_a_sentences_end_changes_nothing(
    pinyin: ModuleType, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = sentences(pinyin, reader)[::20]
    expected = reader.read_batch(lines)
    zeros = pinyin.pad

    def pad(sentences: list[list[int]]) -> Any:
        columns = zeros(sentences)
        for number, sentence in enumerate(sentences):
            columns[len(sentence) :, number] = reader._numbers["好"]
        return columns

    monkeypatch.setattr(pinyin, "pad", pad)
    assert reader.read_batch(lines) == expected


def test_the_readmes_sentence_is_read_as_its_readme_says(reader: Any) -> None:
    expected = "ran2 er2 ， ta1 hong2 le5 2 0 nian2 yi3 hou4 ， ta1 jing4 tui4 chu1 le5 da4 jia1 de5 shi4 xian4 。"
    assert reader.read("然而，他红了20年以后，他竟退出了大家的视线。") == expected.split()


def test_empty_lines_other_scripts_and_unknown_characters_are_left_as_they_are(reader: Any) -> None:
    assert reader.read("") == []
    assert reader.read("abc ∀") == list("abc ∀")


def test_characters_that_the_model_or_the_dictionary_lacks_are_read_as_g2pm_reads_them(
    reader: Any, oracle: Any
) -> None:
    unseen = [c for c, readings in reader.dictionary.items() if len(readings) > 1 and c not in reader._numbers]
    assert unseen
    for line in ("今天", "Python 3.11 的教程", "😀\t了한", "시끝▁了", "了", "".join(unseen)):
        assert reader.read(line) == oracle(line, char_split=True)


def test_each_batch_of_lines_is_forked_and_printed_in_the_files_order(
    pinyin: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    num_interop_threads: int,
) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("今天气温\n\n银行\n好人好\nabc\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["pinyin.py", str(path)])
    monkeypatch.setattr(pinyin, "BATCH", 2)
    with sync.Runtime(num_interop_threads) as runtime:
        pinyin.main()
    assert runtime.statistics().forked == 3
    expected = [
        "今天气温",
        "jin1 tian1 qi4 wen1",
        "",
        "",
        "银行",
        "yin2 hang2",
        "好人好",
        "hao3 ren2 hao3",
        "abc",
        "a b c",
    ]
    assert capsys.readouterr().out.splitlines() == expected


def test_an_empty_file_has_no_sentences(reader: Any) -> None:
    assert reader.read_all([]) == []


def test_where_g2pm_is_missing_the_command_that_installs_it_is_named(
    pinyin: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "g2pM", None)  # as the import system marks a module that is not there
    with pytest.raises(SystemExit, match=r"needs the weights of g2pM: pip install 'asyncjit\[examples\]'"):
        pinyin.Reader()


def test_a_file_that_is_not_utf_8_is_named(
    pinyin: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"\xff\xfe")
    monkeypatch.setattr(sys, "argv", ["pinyin.py", str(path)])
    with pytest.raises(SystemExit, match="2"):
        pinyin.main()
    assert f"cannot read {path}: 'utf-8' codec" in capsys.readouterr().err


def test_a_pickle_that_names_anything_but_arrays_is_refused(pinyin: ModuleType) -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"posix\.system|nt\.system|os\.system"):
        pinyin.ArrayUnpickler(io.BytesIO(pickle.dumps(os.system))).load()


def test_the_example_prints_its_sentences_and_tells_of_a_missing_file(tmp_path: Path, pinyin: ModuleType) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent), "PYTHONIOENCODING": "utf-8"}
        command = [sys.executable, str(EXAMPLE), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=50, env=environment, check=False)

    done = run()
    assert done.returncode == 0, done.stderr
    assert "ta1 jing4 tui4 chu1 le5 da4 jia1 de5 shi4 xian4" in done.stdout
    missing = run(str(tmp_path / "missing.txt"))
    assert missing.returncode == 2
    assert "missing.txt" in missing.stderr
