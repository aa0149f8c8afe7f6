"""Wake-ups of jobs: none is lost, whatever is active when it comes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tocsin.worker.schedule import Wakes

AT_ONCE = {"detect": 2, "alert": 1}


def test_a_job_that_is_active_starts_once_more_when_it_has_ended() -> None:
    wakes = Wakes()
    with wakes.running("alert"):
        wakes.wake("alert")
        assert wakes.event.is_set()
        assert wakes.taken(AT_ONCE) == set()
        assert not wakes.event.is_set()
    assert wakes.event.is_set()
    assert wakes.taken(AT_ONCE) == {"alert"}
    assert wakes.taken(AT_ONCE) == set()


def test_a_job_with_two_lanes_starts_in_the_second() -> None:
    wakes = Wakes()
    with wakes.running("detect"):
        wakes.wake("detect")
        assert wakes.taken(AT_ONCE) == {"detect"}


@given(st.lists(st.sampled_from(["wake", "start", "end"]), max_size=40))
def test_after_every_wake_up_a_run_begins(steps: list[str]) -> None:
    """The runs that begin after the last wake-up see what it was about."""
    wakes, active, unseen = Wakes(), [], False
    for step in [*steps, *["end", "start"] * (len(steps) + 1)]:
        if step == "wake":
            wakes.wake("alert")
            unseen = True
        elif step == "start" and "alert" in wakes.taken(AT_ONCE):
            active.append(wakes.running("alert"))
            active[-1].__enter__()
            unseen = False
        elif step == "end" and active:
            active.pop().__exit__(None, None, None)
    assert not unseen
    assert not wakes.event.is_set()
