"""Events to plugins: each on a lane of its own; one that raises, hangs or lags is told of once and harms nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import soundforge as sf
from soundforge import event_worker
from soundforge.event_worker import EventWorker
from soundforge.plugin_manager import PluginManager
from soundforge.registry import Origin
from soundforge.requests import NoticeEvent


def plugin(hear: Callable[[Any], None]) -> object:
    class Plugin:
        @staticmethod
        @sf.hookimpl
        def on_event(event):  # type: ignore[no-untyped-def]
            hear(event)

    return Plugin


def worker(**hears: Callable[[Any], None]) -> tuple[EventWorker, list[str]]:
    manager = PluginManager(load_entry_points=False)
    for name, hear in hears.items():
        assert manager.register(plugin(hear), Origin(name, f"{name}-dist", "0.1"))
    lines: list[str] = []
    made = EventWorker(manager, lines.append)
    made.start()
    return made, lines


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


EVENTS = [NoticeEvent("info", str(index)) for index in range(5)]


@pytest.mark.parametrize("error", [RuntimeError("deaf"), SystemExit(3)])
def test_one_that_raises_is_told_of_once_and_the_others_hear_all(error: BaseException) -> None:
    heard: list[object] = []
    calls: list[object] = []

    def bad(event: object) -> None:
        calls.append(event)
        raise error

    made, lines = worker(good=heard.append, bad=bad)
    for event in EVENTS:
        made.put(event)
    made.stop()
    assert heard == EVENTS and calls == EVENTS[:1] and made.dropped == 0
    (line,) = lines
    assert line.startswith(f"plugin bad 0.1: on_event raised {type(error).__name__}: ")


def test_one_that_hangs_is_told_of_and_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_worker, "SLOW_SECONDS", 0.05)
    monkeypatch.setattr(event_worker, "STOP_SECONDS", 0.2)
    heard: list[object] = []
    gate = threading.Event()
    made, lines = worker(good=heard.append, stuck=lambda event: gate.wait() and None)
    made.put(EVENTS[0])
    time.sleep(0.1)
    for event in EVENTS[1:]:
        made.put(event)
    until(lambda: heard == EVENTS)
    (line,) = lines
    assert line.startswith("plugin stuck 0.1: on_event has not come back for 0.05 s")
    began = time.monotonic()
    made.stop()
    assert time.monotonic() - began < 2
    gate.set()


def test_one_that_lags_loses_events_and_waits_cost_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_worker, "QUEUE_SIZE", 3)
    gate = threading.Event()
    made, lines = worker(slow=lambda event: gate.wait() and None)
    began = time.monotonic()
    for _ in range(100):
        made.put(EVENTS[0])
    assert time.monotonic() - began < 1 and made.dropped >= 96
    (line,) = lines
    assert "slow 0.1: on_event is slower than the events" in line
    gate.set()
    made.stop()


def test_nobody_listens_nothing_runs() -> None:
    before = threading.active_count()
    made, _ = worker()
    made.put(EVENTS[0])
    assert threading.active_count() == before
    made.stop()
