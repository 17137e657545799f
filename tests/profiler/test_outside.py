"""The code outside of forks: when it ran."""

from __future__ import annotations

from tests.profiler.noted import Recording, Thread, outside


def test_a_script_runs_when_it_neither_waits_nor_runs_a_fork_in_place() -> None:
    recording = Recording()
    here = recording.here
    here.fork(1, 5)
    here.wait_outside(20, None, target=1)
    here.run(1, 22, 30)
    here.track.mark((4, 1, 31, -1))
    recording.there.wait_outside(40, 50)
    assert outside(recording.records(60)) == [(0, 0, 20), (0, 31, 60)]


def test_a_script_that_still_waits_at_the_end_runs_up_to_there() -> None:
    recording = Recording()
    recording.here.wait_outside(20, None)
    assert outside(recording.records(60)) == [(0, 0, 20)]


def on_a_loop() -> tuple[Recording, Thread]:
    recording = Recording()
    recording.notes.is_on_loop = recording.here.track.is_loop = True
    return recording, recording.here


def test_plain_tasks_ran_as_long_as_their_thread_took_cpu_time_beside_its_forks() -> None:
    recording, here = on_a_loop()
    here.start(0, 0, cpu_ns=0)
    here.fork(1, 1000)
    here.run(1, 2_000, 6_000, (1_000, 4_000))
    here.wait_outside(20_000, 50_000, cpu=(9_000, 9_500))
    here.stop(0, 60_000, cpu_ns=19_500)
    # From 0 to 20,000 the thread worked for 9,000, of which 3,000 were the fork's; in the wait too little to tell.
    assert outside(recording.records(60_000)) == [(0, 0, 2_000), (0, 6_000, 10_000), (0, 50_000, 60_000)]


def test_without_cpu_times_nothing_is_said_of_plain_tasks() -> None:
    recording, here = on_a_loop()
    here.start(0, 0)
    here.wait_outside(20_000, 50_000)
    here.stop(0, 60_000)
    assert outside(recording.records(60_000)) == []


def test_where_a_script_runs_a_loop_the_loops_tasks_take_its_place() -> None:
    recording = Recording()
    recording.here.wait_outside(20_000, 30_000, cpu=(5_000, 5_000))
    recording.here.wait_outside(50_000, 60_000, cpu=(15_000, 15_000))
    assert outside(recording.records(80_000)) == [(0, 0, 20_000), (0, 30_000, 40_000), (0, 60_000, 80_000)]
