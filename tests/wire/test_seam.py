"""The seam between two backends: what is cut, what is trusted, and what an answer cost."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.wire.canonical import Event, Finished, Started, TextDelta, Usage
from headrace.wire.resume import Progress, Seam

SAID = "It was the best of times, it was the worst of times."


def progress_of(*pieces: str) -> Progress:
    progress = Progress(10_000)
    progress.add(TextDelta(piece) for piece in pieces)
    return progress


def passed(progress: Progress, *events: Event, trimmed: str = "") -> str:
    seam = Seam(progress, trimmed)
    out = [each for event in events for each in seam.pass_on([event])]
    return "".join(event.text for event in out if isinstance(event, TextDelta))


def cut(text: str, places: list[int]) -> list[TextDelta]:
    marks = sorted({0, len(text), *(place % len(text) for place in places)})
    return [TextDelta(text[start:end]) for start, end in itertools.pairwise(marks)]


@given(st.lists(st.integers(0, 1000), max_size=9), st.text(min_size=1, max_size=20))
def test_text_that_is_said_again_is_cut_however_it_comes(places: list[int], more: str) -> None:
    said = passed(progress_of(SAID[:20], SAID[20:]), Started("b"), *cut(SAID + more, places), Finished("stop"))
    assert said == more


@given(st.text(alphabet="ab ", max_size=30), st.lists(st.integers(0, 1000), max_size=9))
def test_what_is_no_repetition_is_all_passed_on(text: str, places: list[int]) -> None:
    events = cut(text, places) if text else []
    assert passed(progress_of(SAID), *events, Finished("stop")) == text


@pytest.mark.parametrize("said", ["tok tok tok tok tok tok ", "ha ha", "1, ", "no "])
def test_a_text_that_repeats_itself_or_is_short_may_go_on_with_itself(said: str) -> None:
    assert passed(progress_of(said), *map(TextDelta, (said[:2], said[2:], said)), Finished("stop")) == said * 2


@given(st.lists(st.integers(0, 1000), max_size=9))
def test_a_backend_that_does_not_repeat_may_say_the_same_again(places: list[int]) -> None:
    seam = Seam(progress_of(SAID), may_repeat=False)
    out = [each for event in cut(SAID, places) for each in seam.pass_on([event])]
    assert "".join(event.text for event in out if isinstance(event, TextDelta)) == SAID


@pytest.mark.parametrize("more", ["  so it went", "so it went", " so it went"])
def test_white_space_that_a_backend_was_not_given_is_there_once(more: str) -> None:
    progress = progress_of("And  ")
    assert progress.text + passed(progress, TextDelta(more), trimmed="  ") == "And  so it went"


def test_usage_is_that_of_one_answer() -> None:
    seam = Seam(progress_of("a", "b", "c"))
    (summed,) = seam.pass_on([Usage(15, 4, 14)])
    assert summed == Usage(12, 7, 12)
    assert seam.usage == Usage(15, 4, 14)


def test_a_longer_text_than_is_kept_is_an_obstacle() -> None:
    progress = Progress(5)
    progress.add([TextDelta("abc"), TextDelta("def")])
    assert "rescue_max_bytes" in progress.obstacle()
    assert progress.tokens == 2
