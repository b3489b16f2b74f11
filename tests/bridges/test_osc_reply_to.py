"""Answers elsewhere: the `url path` at the end of a message, as liblo's and SooperLooper's users know it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from osc_peer import Client
from session_double import MemorySession

from soundforge import RequestError
from soundforge.requests import JobEvent
from soundforge_bridges.osc.origin import Origin, split_reply_to

SENDER = ("127.0.0.1", 5000)


def split(*values: Any, allowed: tuple[str, ...] = ()) -> tuple[Any, Origin]:
    return split_reply_to(values, SENDER, "/soundforge/status", lambda host: host in allowed)


@pytest.mark.parametrize(("url", "address"), [
    ("osc.udp://127.0.0.1:9131/", ("127.0.0.1", 9131)), ("osc.udp://127.0.0.1:9131", ("127.0.0.1", 9131)),
    ("osc://localhost:7/", ("127.0.0.1", 7)), ("osc.udp://my-laptop.local:65535/", ("127.0.0.1", 65535)),
    ("osc.udp://:9131/", ("127.0.0.1", 9131)), ("osc.udp://10.0.0.7:80/", ("10.0.0.7", 80)),
])
def test_urls(url: str, address: tuple[str, int]) -> None:
    values, origin = split("a", 2.0, url, "/here", allowed=("10.0.0.7",))
    assert list(values) == ["a", 2.0] and origin == Origin(address, "/here", "/soundforge/status")


@pytest.mark.parametrize("values", [(), ("/here",), ("osc.udp://127.0.0.1:9131/", "here"), ("warm dub", "/here"),
                                    (1.0, "/here"), ("osc.udp://127.0.0.1:9131/x/y", "/here")])
def test_what_is_no_url_and_path_stays_an_argument(values: tuple[Any, ...]) -> None:
    assert split(*values) == (values, Origin(SENDER))


@pytest.mark.parametrize(("url", "what"), [
    ("osc.udp://10.0.0.7:9131/", "a machine that may not speak to us"), ("osc.tcp://127.0.0.1:9131/", "expected osc"),
    ("osc.udp://127.0.0.1:0/", "expected osc.udp"), ("osc.udp://127.0.0.1:65536/", "expected osc.udp")])
def test_urls_that_are_refused(url: str, what: str) -> None:
    with pytest.raises(RequestError, match=what):
        split(url, "/here")


@given(st.lists(st.one_of(st.text(max_size=40), st.floats(), st.none(), st.integers()), max_size=5))
def test_any_arguments_are_split_or_refused_in_words(values: list[Any]) -> None:
    try:
        rest, origin = split(*values)
    except RequestError:
        return
    assert len(rest) in (len(values), len(values) - 2) and origin.address[0] == "127.0.0.1"


def test_answers_come_to_the_url_at_the_path(session: MemorySession, client: Client) -> None:
    other = Client(client.server[1])
    url = f"osc.udp://localhost:{other.port}/"
    client.send("/soundforge/status", url, "/my/status")
    assert other.receive()[0] == "/my/status"
    client.send("/soundforge/param/temperature", 0.5, url, "/temp")
    assert other.receive() == ("/temp", (0.5,))
    client.send("/soundforge/generate", "dub", url, "/job")
    assert other.receive() == ("/job/accepted", ("job-1",))
    client.send("/soundforge/capture/start", "mine", url, "/rec/")
    assert other.receive() == ("/rec/", ("mine",)), "the answer that the table names comes at the path itself"
    client.send("/soundforge/capture/stop", url, "/rec")
    assert other.receive() == ("/rec", ("mine", 2.5, -6.25))
    client.send("/soundforge/param/zzz", url, "/temp")
    assert other.receive()[0] == "/soundforge/error"
    assert client.nothing(), "who sent it hears nothing of it"
    client.send("/soundforge/ping", url, "/pong")
    assert client.receive() == ("/soundforge/pong", (url, "/pong")), "ping gives back what came"
    other.close()


def test_later_events_of_a_job_come_there_too_and_subscribers_hear_them_as_ever(session: MemorySession,
                                                                                client: Client) -> None:
    other = Client(client.server[1])
    client.ask("/soundforge/subscribe")
    client.drain()
    kept: list[Any] = []
    session.listeners.append(lambda event, origin: kept.append(origin))
    client.send("/soundforge/generate", "", 2, "j", f"osc.udp://127.0.0.1:{other.port}/", "/job")
    assert other.receive() == ("/job/accepted", ("j",))
    assert client.until("/soundforge/job/accepted") == ("/soundforge/job/accepted", ("j",))
    end = time.monotonic() + 5.0  # the bridge hears of it, and answers, before this listener does
    while not any(isinstance(each, Origin) for each in kept) and time.monotonic() < end:
        time.sleep(0.005)
    origin = next(each for each in kept if isinstance(each, Origin))
    session.emit(JobEvent("progress", "j", fraction=0.5), origin)
    assert other.receive(5.0) == ("/job/progress", ("j", 0.5))
    other.close()
