"""Sentences to pinyin: `examples/pinyin.py`, by length and in batches, beside g2pM's own `predict`, in one process.

Ours is timed with all that it does, from strings to strings. The peer's `predict` is given numbers and returns numbers:
it is the model alone, a sentence at a time, as g2pM calls it. Before anything is measured, every sentence has to be
read by both alike.
"""

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from g2pM import G2pM

from benchmarks.harness import Sheet, interleave, parse_options
from examples.pinyin import END, SENTENCES, START, UNKNOWN, Reader

NUM_SENTENCES = 1_000


def compose(num_sentences: int) -> list[str]:
    """Return sentences of one to four clauses of the example's own."""
    chance = random.Random(0)
    text = SENTENCES.read_text(encoding="utf-8").replace("\n", "").replace("。", "，")
    clauses = [clause for clause in text.split("，") if clause]
    return ["，".join(chance.sample(clauses, chance.randint(1, 4))) + "。" for _ in range(num_sentences)]


def questions(g2pm: Any, sentences: list[str]) -> list[tuple[Any, list[int]]]:
    """Return what g2pM calls its `predict` with for each sentence that has a choice in it."""
    found = []
    for sentence in sentences:
        places = [i + 1 for i, character in enumerate(sentence) if len(g2pm.cedict.get(character, "")) > 1]
        if places:
            unknown = g2pm.char2idx[UNKNOWN]
            numbers = [g2pm.char2idx.get(character, unknown) for character in sentence]
            framed = [g2pm.char2idx[START], *numbers, g2pm.char2idx[END]]
            found.append((np.array([framed], np.int32), places))
    return found


def timed(run: Callable[[], Any], num_sentences: int) -> Callable[[], float]:
    """Return a case: the seconds of a sentence."""

    def case() -> float:
        start = time.perf_counter()
        run()
        return (time.perf_counter() - start) / num_sentences

    return case


def main() -> None:
    """Measure, print the table."""
    options = parse_options("Sentences to pinyin.", rounds=11)
    sheet = Sheet("pinyin", options)
    sentences = compose(NUM_SENTENCES // 5 if options.is_quick else NUM_SENTENCES)
    reader, g2pm = Reader(), G2pM()
    expected = [g2pm(sentence, char_split=True) for sentence in sentences]
    assert reader.read_all(sentences) == expected, "a label changed"
    asked = questions(g2pm, sentences)
    num = len(sentences)
    found = interleave(
        {
            "ours": timed(lambda: reader.read_all(sentences), num),
            "predict": timed(lambda: [g2pm.predict(*question) for question in asked], num),
            "call": timed(lambda: [g2pm(sentence, char_split=True) for sentence in sentences], num),
        },
        options.rounds,
    )
    sheet.speed_up("a sentence: g2pM's predict alone", found["ours"], found["predict"], "≥ 10 ×")
    sheet.speed_up("a sentence: all that g2pM does", found["ours"], found["call"])
    num_characters = sum(map(len, sentences))
    sheet.note(f"{num:,} sentences, {num_characters / num:.1f} characters long on average; no label differed.")
    sheet.finish()


if __name__ == "__main__":
    main()
