"""The notes of one recording: lists that are packed."""

from __future__ import annotations

import threading

import pytest

from asyncjit.profiler.notes import NAME_OF_OUTSIDE, STARTED, Full, Notes


def test_packed_notes_and_those_that_are_not_are_read_together() -> None:
    notes = Notes(0, 100)
    track = notes.new_track()
    track.mark((STARTED, 1, 10, 5))
    code = (lambda: None).__code__
    track.fork((1, 9, 0, 2, code))
    track.end((1, 0, 3, 4))
    assert notes.pack(track)
    assert (track.marks, track.forks, track.ends) == ([], [], [])
    track.mark((STARTED, 2, 20, 6))
    [(of, columns)] = notes.by_track()
    assert of is track
    assert columns.marks.tolist() == [[STARTED, 1, 10, 5], [STARTED, 2, 20, 6]]
    assert columns.forks.tolist() == [[1, 9, 0, 2, id(code)]]
    assert notes.code(id(code)) is code
    assert columns.ends.tolist() == [[1, 0, 3, 4]]


def test_there_is_room_for_so_many_notes_of_all_threads_together() -> None:
    notes = Notes(0, 3)
    tracks = [notes.new_track() for _ in range(2)]
    for track in tracks:
        for _ in range(2):
            track.mark((STARTED, 1, 10, 5))
    assert [notes.pack(track) for track in tracks] == [True, False]


def test_each_track_is_its_threads() -> None:
    notes = Notes(0, 100)
    tracks = [notes.new_track()]
    other = threading.Thread(target=lambda: tracks.append(notes.new_track()))
    other.start()
    other.join()
    assert [track.thread for track in tracks] == [threading.get_ident(), other.ident]


def test_a_name_has_one_number_and_the_code_outside_of_forks_the_first() -> None:
    notes = Notes(0, 100)
    assert [notes.name(text) for text in (NAME_OF_OUTSIDE, "a", "b", "a")] == [0, 1, 2, 1]


@pytest.mark.parametrize(
    ("args", "text"),
    [((), "[]"), ((1, "a"), "[[], []]"), ((memoryview(b"abc"),), "[[3]]")],
    ids=["none", "without shapes", "with a shape"],
)
def test_shapes_are_written_as_torch_does(args: tuple[object, ...], text: str) -> None:
    notes = Notes(0, 100)
    notes.note_shapes(5, args)
    assert list(notes.shapes) == [text]
    assert notes.shapes_of == {5: 0}


def test_what_comes_after_the_last_for_which_there_was_room_is_counted_however_often_one_asks() -> None:
    notes = Notes(0, 100)
    full = Full(notes.dropped.__next__)
    for note in (full.track.mark, full.track.fork, full.track.end):
        note((1, 2, 3, 4))
    assert [notes.count_dropped() for _ in range(3)] == [3, 3, 3]
    full.mark((1, 2, 3, 4))
    assert notes.count_dropped() == 4
