"""Another tempo while music streams: a conditioner that follows the beat hears of it, on the beat that was reached."""

from __future__ import annotations

from dataclasses import replace

import pytest

from soundforge.engine.running import RunningStream
from soundforge.interfaces import ConditionContext
from soundforge.live.engine_inbox import merged_changes
from soundforge.requests import GenerateRequest, TempoChange
from soundforge.testing.tiny_model import tiny_engine

REQUEST = GenerateRequest(text="a", seconds=6.0, seed=1, bpm=120.0)  # longer than the window of 4 s


def context(stream: RunningStream) -> ConditionContext:
    assert stream._generation is not None
    return stream._generation.window.conditions.contexts["pulse"]


def beat_at(stream: RunningStream, seconds: float) -> float:
    """The beat that the conditioner gives a place in the new audio."""
    now = context(stream)
    assert now.start_beat is not None and now.bpm is not None
    first_new = now.prompt_frames - now.new_start  # frames of new audio before `start_beat`
    return now.start_beat + (seconds - first_new / now.frame_rate_hz) * now.bpm / 60.0


@pytest.mark.parametrize("ahead", [0.0, 0.25, 99.0])
def test_beats_go_on_without_a_jump_where_the_change_is_heard(ahead: float) -> None:
    stream = tiny_engine().stream_request(replace(REQUEST, tags={"start_beat": 8.0}))
    for _ in range(5):
        next(stream)
    done = stream._generation.done_frames / 50.0  # type: ignore[union-attr]
    heard = max(0.0, done - ahead)
    stream.update(tempo=TempoChange(150.0, 120.0, ahead))
    assert context(stream).bpm == 150.0
    assert beat_at(stream, heard) == pytest.approx(8.0 + heard * 2.0)
    assert beat_at(stream, heard + 1.0) == pytest.approx(8.0 + heard * 2.0 + 2.5)
    before = beat_at(stream, 5.0)
    for _ in stream:
        pass
    assert context(stream).window_start_frames and beat_at(stream, 5.0) == pytest.approx(before), "in later windows too"
    assert stream.changes[0]["tempo"].bpm == 150.0


def test_the_features_of_an_automatic_condition_are_made_anew_and_no_other() -> None:
    stream = tiny_engine().stream_request(REQUEST)
    next(stream)
    window = stream._generation.window  # type: ignore[union-attr]
    old = dict(window.conditions.encoded)
    stream.update(tempo=TempoChange(90.0, 120.0))
    new = window.conditions.encoded
    assert [key[0] for key in new if key in old and new[key] is not old[key]] == ["pulse"] * sum(
        key[0] == "pulse" for key in old)
    assert not new.keys() - old.keys()


@pytest.mark.parametrize(("own", "change"), [
    (None, TempoChange(150.0, 120.0)),  # it found a tempo by itself
    (90.0, TempoChange(150.0, 120.0)),  # a take of another tempo is carried on
    (120.0, TempoChange(120.0, 120.0)),
])
def test_what_does_not_run_at_the_tempo_that_changes_stays(own: float | None, change: TempoChange) -> None:
    engine = tiny_engine()
    request = replace(REQUEST, bpm=own, seconds=1.0)
    plain, changed = engine.stream_request(request), engine.stream_request(request)
    next(changed)
    changed.update(tempo=change)
    assert context(changed).bpm == own
    next(plain)
    assert all((a.samples == b.samples).all() for a, b in zip(plain, changed, strict=True))


def test_changes_that_wait_lead_from_the_first_tempo_to_the_last() -> None:
    merged = merged_changes({"tempo": TempoChange(130.0, 120.0)}, {"tempo": TempoChange(140.0, 130.0)})
    assert merged == {"tempo": TempoChange(140.0, 120.0)}
