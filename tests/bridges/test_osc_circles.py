"""Servers that hear each other's answers, which are commands as well: what was said ends, however it began."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from osc_peer import Client, Running, running
from real_server import real_server
from session_double import MemorySession

from soundforge_bridges.osc.echoes import LOOK_BACK_SECONDS, MAX_EXCHANGES, MOST_IN_A_ROW, Echoes
from soundforge_bridges.osc.reader import Message
from soundforge_bridges.osc.replies import Outgoing, param_reply

PEER = ("127.0.0.1", 9131)
CFG = "/soundforge/param/cfg"


@contextlib.contextmanager
def two() -> Iterator[tuple[Running, Running]]:
    with running(MemorySession()) as one, running(MemorySession()) as other:
        yield one, other


def subscribe_to_each_other(one: int, other: int, client: Client) -> None:
    """What anybody can do: the port that is subscribed is any."""
    for server, port in ((one, other), (other, one)):
        client.server = ("127.0.0.1", server)
        client.send("/soundforge/subscribe", port)
        client.until("/soundforge/subscribed")


def falls_silent(listener: Client, seconds: float = 5.0) -> int:
    """How many messages came before it was quiet for half a second."""
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        try:
            listener.receive(0.5)
        except TimeoutError:
            return count
        count += 1
    raise AssertionError(f"{count} messages in {seconds:g} s, and no end of them")


@pytest.mark.parametrize("message", [(CFG, 2.5), *(pytest.param(more, marks=pytest.mark.slow) for more in (
    ("/soundforge/condition/text", "dub"), (CFG, 2.5, "osc.udp://127.0.0.1:{other}/", CFG),
    (CFG, 2.5, "osc.udp://127.0.0.1:{other}/", "/soundforge/param/gain"),
    (CFG, 2.5, "osc.udp://127.0.0.1:{one}/", "/soundforge/param/gain")))])
def test_one_message_goes_round_a_few_times_at_most(message: tuple[object, ...]) -> None:
    with two() as (one, other):
        client = one.client()
        ports = {"one": one.bridge.port, "other": other.bridge.port}
        subscribe_to_each_other(ports["one"], ports["other"], client)
        client.server = ("127.0.0.1", ports["one"])
        client.send("/soundforge/subscribe")
        falls_silent(client)
        client.send(*[value.format(**ports) if isinstance(value, str) else value for value in message])
        assert 1 <= falls_silent(client) <= 4 * (MOST_IN_A_ROW + 4)


def test_a_fader_and_its_opposite_come_to_rest() -> None:
    """Two values at once: each server takes over what the other one just had."""
    with two() as (one, other):
        first, second = one.client(), other.client()
        subscribe_to_each_other(one.bridge.port, other.bridge.port, one.client())
        for number in range(60):
            first.send(CFG, 1.0 + number / 100)
            second.send(CFG, 5.0 - number / 100)
        first.send("/soundforge/subscribe")
        falls_silent(first)


def test_a_surface_that_repeats_itself_is_answered() -> None:
    with running(MemorySession()) as server:
        client = server.client()
        for number in range(MOST_IN_A_ROW):
            client.send(CFG, float(number % 2))
            assert client.until(CFG)[1] == (float(number % 2),)
        for number in range(200):
            client.send(CFG, number / 100)
            assert client.until(CFG)[1] == (pytest.approx(number / 100),)


def test_what_it_remembers_is_bounded_and_forgotten() -> None:
    now = [0.0]
    echoes, message = Echoes(lambda: now[0]), Message(CFG, (2.0,))
    datagram = param_reply("cfg", 2.0).encode()
    for _ in range(MOST_IN_A_ROW):
        echoes.sent(datagram, CFG, PEER)
        assert not echoes.goes_round(message, PEER)
    assert echoes.goes_round(message, PEER)
    assert not echoes.goes_round(message, ("127.0.0.1", 1)), "others are answered"
    now[0] += LOOK_BACK_SECONDS + 0.1
    assert not echoes.goes_round(message, PEER), "after a pause it is answered again"
    for port in range(3 * MAX_EXCHANGES):
        echoes.sent(datagram, CFG, ("127.0.0.1", port))
    assert len(echoes) == MAX_EXCHANGES
    now[0] += LOOK_BACK_SECONDS + 0.1
    echoes.sent(datagram, CFG, PEER)
    assert len(echoes) == 1, "what can go round no more takes no room"


def test_a_path_that_no_server_takes_is_answered_and_not_remembered() -> None:
    echoes, path = Echoes(), "/soundforge/param/" + "x" * 300
    echoes.sent(Outgoing(path, "f", (2.0,)).encode(), path, PEER)
    assert len(echoes) == 0


@pytest.mark.slow
def test_two_real_servers(tmp_path: Path) -> None:
    with (real_server(tmp_path / "one", states=("loading", "ready")) as one,
          real_server(tmp_path / "other", states=("loading", "ready")) as other):
        client = Client(one.port)
        subscribe_to_each_other(one.port, other.port, client)
        for port in (one.port, other.port):
            client.server = ("127.0.0.1", port)
            client.send("/soundforge/subscribe")
        falls_silent(client)
        for server, value in ((one, 2.0), (other, 4.0)) * 20:
            server.client.send(CFG, value)
            server.client.send("/soundforge/param/text", "dub", f"osc.udp://127.0.0.1:{one.port}/",
                               "/soundforge/param/text_b")
        heard = falls_silent(client, 20.0)
        before = one.cpu_seconds() + other.cpu_seconds()
        time.sleep(1.0)
        used = one.cpu_seconds() + other.cpu_seconds() - before
        print(f"{heard} messages, then silence; {used:.2f} s of computing in the second after it")
        assert max(one.client.pings(10, 0.01) + other.client.pings(10, 0.01)) < 0.05
        client.close()
