"""Why a profiled program is not faster: a few sentences, the most important first.

The lanes' time is shared out to what computed and to each cause that kept lanes from it (`accounts.py`), so the shares
are comparable and do not add up to more than 1. The causes with the largest are put into words (`causes.py`).
"""

from __future__ import annotations

import numpy as np

from asyncjit.profiler.causes import Cause, Evidence, all_well, lost_by_cause
from asyncjit.profiler.prediction import curve
from asyncjit.profiler.records import UNFINISHED, UNKNOWN, Records

__all__ = ["Cause", "Explanation", "explain"]

MAX_SENTENCES = 5  # chosen: more than that nobody acts on
# Chosen: what takes less of the lanes' time is not worth a change of the program, and two runs of the same program on a
# machine that does other things besides differ by as much.
MIN_SHARE = 0.1
LANES = (1, 2, 4, 8)  # chosen: what one has to hand


class Explanation(list[Cause]):
    """Sentences, the most important first; as text, one a line."""

    def __str__(self) -> str:
        return "\n".join(map(str, self))


def explain(records: Records) -> Explanation:
    """Tell what keeps a profiled program from being faster.

    Returns
    -------
    Explanation
        Five sentences at most. Those with a share name a cause; the shares are of the lanes' time, the duration times
        the number of lanes. Where no cause takes a tenth of it, one sentence says so.
    """
    notes = _notes(records)
    if not len(records.strands):
        return Explanation([Cause("The profile is empty: nothing ran in its block."), *notes])
    if len(records.tasks) == 1:
        return Explanation([_nothing_forked(records), *notes])
    evidence = Evidence(records)
    all_ns = max(1.0, evidence.account.all_ns)
    shares = [(lost_ns / all_ns, tell) for tell, lost_ns in lost_by_cause(evidence).items()]
    largest = sorted((each for each in shares if each[0] >= MIN_SHARE), key=lambda each: -each[0])
    causes = [tell(evidence)._replace(share=share) for share, tell in largest[:MAX_SENTENCES]]
    if records.num_lanes == 1:
        causes.insert(0, _more_lanes(records))
    return Explanation([*(causes or [all_well(evidence)])[: MAX_SENTENCES - len(notes)], *notes])


def _nothing_forked(records: Records) -> Cause:
    idle = 1 - 1 / max(1, records.num_lanes)
    text = "Nothing was forked, so nothing ran on the lanes."
    return Cause(text, idle or None, "Fork the calls that do not need each other's results.", "few forks")


def _more_lanes(records: Records) -> Cause:
    """Return what more lanes than one would give."""
    two, *more = curve(records, LANES)[1:]
    text = f"On one lane nothing runs side by side; 2 lanes are predicted to be {two.speedup:.2f} × as fast, "
    text += " and ".join(f"{each.num_lanes} lanes {each.speedup:.2f} ×" for each in more) + "."
    return Cause(text)


def _notes(records: Records) -> list[Cause]:
    """Return what the profile does not tell, if there is such."""
    notes = []
    forks = records.tasks[1:]
    num_unfinished = int((forks["state"] == UNFINISHED).sum())
    if records.num_dropped:
        text = f"The buffer was full: {records.num_dropped:,} events came later, and all that is said is of before."
        notes.append(Cause(text, advice="Give profile(max_events=...) more, or record fewer steps with a schedule."))
    elif num_unfinished:
        text = f"{num_unfinished:,} of {len(forks):,} forks had not ended when the profile did."
        notes.append(Cause(text, advice="What they did later is not in it: end the block after the last wait."))
    if len(records.strands) and bool(np.all(records.strands["cpu_ns"] == UNKNOWN)):
        text = "Without CPU times, what was lost to the GIL or to other processes does not show."
        notes.append(Cause(text, advice="Record them: profile(cpu_times=True)."))
    return notes
