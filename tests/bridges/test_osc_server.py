"""The OSC server as clients meet it: subscriptions, timetags, access, busy ports, floods."""

from __future__ import annotations

import itertools
import os
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from osc_peer import Client, Running, build, running
from session_double import MemorySession

from soundforge import DeviceError, RequestError, SettingsError
from soundforge.requests import JobEvent
from soundforge_bridges.osc.fair_queue import FairQueue
from soundforge_bridges.osc.peers import (
    MAX_SUBSCRIBERS,
    SUBSCRIPTION_SECONDS,
    Access,
    Awaited,
    ErrorBudget,
    Subscribers,
)
from soundforge_bridges.osc.reader import Message
from soundforge_bridges.osc.schedule import MAX_WAITING_PER_HOST, Schedule, seconds_until, timetag_at


def bundle_at(seconds_ahead: float, *messages: bytes) -> bytes:
    return b"#bundle\0" + struct.pack(">Q", timetag_at(time.time() + seconds_ahead)) + b"".join(
        struct.pack(">i", len(m)) + m for m in messages)


# --- who hears what ---------------------------------------------------------------------------------------


def test_replies_go_to_the_sender_and_every_subscriber_once(server: Running, client: Client) -> None:
    listener, quiet = server.client(), server.client()
    client.send("/soundforge/subscribe", float(listener.port))  # Pure Data sends floats only
    assert listener.receive() == ("/soundforge/subscribed", (listener.port,))
    assert listener.receive()[0] == "/soundforge/status"
    assert client.receive() == ("/soundforge/subscribed", (listener.port,))
    client.send("/soundforge/generate", "x", 4, "one")
    assert client.receive() == listener.receive() == ("/soundforge/job/accepted", ("one",))
    listener.send("/soundforge/ping", 7)
    assert listener.receive() == ("/soundforge/pong", (7,))
    assert listener.nothing() and client.nothing() and quiet.nothing()
    client.send("/soundforge/unsubscribe", listener.port)
    client.send("/soundforge/status")
    assert client.until("/soundforge/status") and listener.nothing()


def test_a_jobs_later_events_reach_who_asked(server: Running, session: MemorySession, client: Client) -> None:
    origins: list[Any] = []
    session.listeners.append(lambda event, origin: origins.append(origin))
    client.ask("/soundforge/generate", "x", 4, "one")
    other = server.client()
    other.ask("/soundforge/ping")
    server.call(session.emit, JobEvent("done", "one", clip="c", seconds=4.0, file="/f"), origins[0])
    assert client.receive() == ("/soundforge/job/done", ("one", "c", 4.0, "/f"))
    assert other.nothing()


def test_who_ends_a_capture_hears_of_the_take(server: Running, session: MemorySession, client: Client) -> None:
    other = server.client()
    other.ask("/soundforge/capture/start", "t")
    assert client.ask("/soundforge/capture/stop") == ("/soundforge/take", ("t", 2.5, -6.25))
    assert client.ask("/soundforge/cancel", "x") == ("/soundforge/job/cancelled", ("x",))
    now = [0.0]
    awaited = Awaited(lambda: now[0])
    for number in range(1000):
        awaited.add("/a", ("h", number), 5.0)
    assert len(awaited.by("/a")) == 512 and awaited.by("/b") == []
    now[0] = 6.0
    assert awaited.by("/a") == []


def test_state_is_told_once_though_it_is_event_and_answer(client: Client) -> None:
    client.send("/soundforge/subscribe")
    client.until("/soundforge/status")
    assert client.ask("/soundforge/transport/tempo", 90) == ("/soundforge/transport", ("internal", 90.0, 1, 0.0))
    assert client.nothing()


def test_answers_of_others_are_not_answered(client: Client) -> None:
    """Two servers that answer each other's errors would never stop."""
    for address in ("/soundforge/error", "/soundforge/pong", "/soundforge/job/done", "/soundforge/clip"):
        client.send(address, "x", "y")
    assert client.nothing()


def test_subscribing_the_server_to_itself_ends(server: Running, client: Client) -> None:
    client.send("/soundforge/subscribe", server.bridge.port)
    client.until("/soundforge/subscribed")
    time.sleep(0.2)
    assert client.ask("/soundforge/ping", 1) == ("/soundforge/pong", (1,))
    assert len(client.drain()) == 0


def test_a_parameter_does_not_go_round_when_the_server_is_its_own_subscriber(
        server: Running, session: MemorySession, client: Client) -> None:
    """Its answer is a command as well."""
    client.send("/soundforge/subscribe", server.bridge.port)
    client.until("/soundforge/subscribed")
    itself = f"osc.udp://127.0.0.1:{server.bridge.port}/"
    client.send("/soundforge/param/cfg", 2.0)
    client.send("/soundforge/param/cfg", 3.0)
    client.send("/soundforge/param/text", "a", itself, "/soundforge/param/text")
    time.sleep(0.3)
    assert client.ask("/soundforge/ping", 1)[0] == "/soundforge/param/cfg"
    assert session.calls == [("set_param", "cfg", 2.0), ("set_param", "cfg", 3.0), ("set_param", "text", "a")]


def test_subscribers_are_bounded_and_age() -> None:
    now = [0.0]
    subscribers = Subscribers(lambda: now[0])
    for port in range(MAX_SUBSCRIBERS):
        assert subscribers.add(("h", 1000 + port)) == []
    subscribers.add(("h", 1000))  # renewed: no longer the oldest
    assert subscribers.add(("i", 1)) == [("h", 1001)] and len(subscribers) == MAX_SUBSCRIBERS
    now[0] = SUBSCRIPTION_SECONDS - 1
    subscribers.heard_from("i")
    now[0] = SUBSCRIPTION_SECONDS + 1
    assert len(subscribers.add(("j", 2))) == MAX_SUBSCRIBERS - 1
    assert set(subscribers) == {("i", 1), ("j", 2)}


# --- time --------------------------------------------------------------------------------------------------


def test_future_messages_wait_and_nobody_else_does(session: MemorySession, client: Client) -> None:
    start = time.monotonic()
    client.send_raw(bundle_at(0.3, build("/soundforge/param/cfg", 2.0), build("/soundforge/ping", "late")))
    assert client.ask("/soundforge/ping", "now") == ("/soundforge/pong", ("now",))
    assert session.calls == [], "the answer came before the late ones"
    assert client.receive() == ("/soundforge/param/cfg", (2.0,))
    assert client.receive() == ("/soundforge/pong", ("late",))
    assert 0.29 <= time.monotonic() - start < 2.0


def test_earlier_ones_overtake_and_equal_ones_keep_their_order(client: Client) -> None:
    client.send_raw(bundle_at(0.3, build("/soundforge/ping", 3), build("/soundforge/ping", 4)))
    client.send_raw(bundle_at(0.1, build("/soundforge/ping", 1)))
    client.send_raw(bundle_at(0.2, build("/soundforge/ping", 2)))
    client.send_raw(bundle_at(-100, build("/soundforge/ping", 0)))
    assert [client.receive()[1][0] for _ in range(5)] == [0, 1, 2, 3, 4]


def test_a_year_ahead_is_refused(client: Client) -> None:
    client.send_raw(bundle_at(3e7, build("/soundforge/panic")))
    address, (where, what) = client.receive()
    assert (address, where) == ("/soundforge/error", "/soundforge/panic")
    assert "s ahead came, expected at most 600" in what


def test_panic_forgets_what_was_scheduled(session: MemorySession, client: Client) -> None:
    client.send_raw(bundle_at(0.2, build("/soundforge/generate", "x")))
    client.ask("/soundforge/panic")
    assert client.nothing(0.4) and session.calls == [("panic",)]


def test_the_heap_is_bounded() -> None:
    schedule = Schedule(lambda: 0.0)
    for number in range(MAX_WAITING_PER_HOST):
        schedule.add(Message(f"/{number}"), ("h", number), 1.0)
    with pytest.raises(RequestError, match="512 of them yours"):
        schedule.add(Message("/x"), ("h", 1), 1.0)
    for number in range(MAX_WAITING_PER_HOST):
        schedule.add(Message(f"/{number}"), ("i", number), 1.0)
    with pytest.raises(RequestError, match="1024 messages wait"):
        schedule.add(Message("/x"), ("j", 1), 1.0)
    schedule.clear()
    schedule.add(Message("/x"), ("h", 1), 1.0)


@given(st.lists(st.tuples(st.floats(0, 500), st.integers(0, 3)), max_size=60))
def test_schedule_gives_everything_in_time_order(items: list[tuple[float, int]]) -> None:
    now = [0.0]
    schedule = Schedule(lambda: now[0])
    for number, (ahead, host) in enumerate(items):
        schedule.add(Message(f"/{number}", timetag=timetag_at(time.time() + ahead)), (str(host), 1), ahead)
    got = []
    while (due := schedule.next_due()) is not None:
        now[0] = max(now[0], due)
        while (item := schedule.take_due()) is not None:
            got.append(int(item[0].address[1:]))
    assert sorted(got) == list(range(len(items))) and len(schedule) == 0
    assert all(items[a][0] <= items[b][0] + 0.01 for a, b in itertools.pairwise(got))


def test_schedule_keeps_the_order_of_one_timetag() -> None:
    schedule, tag = Schedule(), timetag_at(time.time() - 1)
    for number in range(100):
        schedule.add(Message(f"/{number}", timetag=tag), ("h", 1), -1.0 - number)
    assert [item[0].address for _ in range(100) if (item := schedule.take_due())] == [f"/{n}" for n in range(100)]


@given(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.7e9, 2_085_978_495.5, 2_085_978_496.5, 2.2e9]))
def test_timetags_pass_the_end_of_the_era(ahead: float, now: float) -> None:
    """NTP seconds wrap in 2036 (unix 2085978496)."""
    assert seconds_until(timetag_at(now + ahead), now) == pytest.approx(ahead, abs=1e-5)


# --- the port and who may use it ---------------------------------------------------------------------------


def test_busy_port_says_what_to_do(server: Running) -> None:
    with pytest.raises(DeviceError, match=r"is busy, .*choose another one with --osc-port") as caught, \
            running(MemorySession(), port=server.bridge.port):
        pass
    assert "\n" not in str(caught.value)


def test_foreign_address_says_what_to_do() -> None:
    for host in ("203.0.113.7", "no.such.host.invalid"):
        with pytest.raises(DeviceError, match="--osc-host"), running(MemorySession(), host=host):
            pass


def test_the_port_is_free_after_stop(session: MemorySession) -> None:
    with running(session) as server:
        port = server.bridge.port
    with running(session, port=port) as server:
        assert server.client().ask("/soundforge/ping") == ("/soundforge/pong", ())
    assert session.listeners == []


def test_no_thread_is_left(session: MemorySession) -> None:
    before = threading.active_count()
    with running(session):
        assert any(thread.name == "soundforge-osc" for thread in threading.enumerate())
    assert threading.active_count() == before


def test_ipv6(session: MemorySession) -> None:
    try:
        with running(session, host="::1") as server, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as mine:
            mine.settimeout(2)
            mine.sendto(build("/soundforge/ping", 5), ("::1", server.bridge.port))
            assert mine.recv(100).startswith(b"/soundforge/pong")
    except DeviceError:
        pytest.skip("no IPv6 here")


def test_access() -> None:
    access = Access(["192.168.1.0/24", "10.0.0.7", "localhost"], "192.168.2.2")
    allowed = ["127.0.0.1", "127.8.8.8", "::1", "192.168.1.99", "10.0.0.7", "192.168.2.2", "::ffff:192.168.1.3"]
    assert [host for host in allowed if not access.allows(host)] == []
    assert not any(access.allows(host) for host in ["192.168.2.3", "10.0.0.8", "8.8.8.8", "fe80::1%eth0", "junk"])
    with pytest.raises(SettingsError, match="osc_allow came as 'no such host', which cannot be looked up"):
        Access(["no such host"])


def test_others_are_dropped_and_counted(server: Running, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.bridge._receiver._access, "allows", lambda host: False)
    for _ in range(5):
        client.send("/soundforge/ping")
    assert client.nothing()
    monkeypatch.undo()
    assert client.ask("/soundforge/status")[1][6] == 4 + 5, "4 is what the session itself reports"


# --- rubbish and floods ------------------------------------------------------------------------------------


def test_rubbish_is_named_counted_and_survived(client: Client) -> None:
    for packet in (b"x", b"#bundle\0" + b"\0" * 8 + b"\xff\xff\xff\xfc" + b"\0" * 8, b"/a\0\0,i\0\0"):
        client.send_raw(packet)
        address, (where, what) = client.receive()
        assert (address, where) == ("/soundforge/error", "") and what
    assert client.ask("/soundforge/status")[1][6] == 4 + 3


def test_error_replies_are_limited(client: Client) -> None:
    for _ in range(300):
        client.send("/soundforge/nope")
        time.sleep(0.0002)
    assert 40 <= len(client.drain()) <= 80
    now = [0.0]
    budget = ErrorBudget(lambda: now[0])
    assert sum(budget.spend(("h", 1)) for _ in range(100)) == 40 and budget.suppressed == 60
    assert budget.spend(("h", 2)), "another sender has a budget of its own"
    now[0] = 1.0
    assert sum(budget.spend(("h", 1)) for _ in range(100)) == 20


@given(st.lists(st.integers(0, 4) | st.none(), max_size=300))
def test_fair_queue(steps: list[int | None]) -> None:
    """Numbers put a packet of that sender, None takes one: order per sender kept, bounds held, nothing lost."""
    queue = FairQueue(total=20, per_sender=8, reserved=6)
    waiting: dict[int, list[int]] = {sender: [] for sender in range(5)}
    dropped = 0
    for number, step in enumerate(steps):
        if step is None:
            taken = queue.take()
            if taken is None:
                assert not any(waiting.values())
            else:
                assert int(taken[0]) == waiting[taken[1][1]].pop(0)
        elif queue.put(str(number).encode(), ("h", step)):
            waiting[step].append(number)
        else:
            dropped += 1
            assert len(waiting[step]) >= 8 or len(queue) >= 14
        assert len(queue) == sum(map(len, waiting.values())) <= 20 and queue.dropped == dropped
        assert max(map(len, waiting.values())) <= 8


def test_senders_take_turns() -> None:
    queue = FairQueue()
    for number in range(500):
        queue.put(b"%d" % number, ("flood", 1))
    queue.put(b"ping", ("quiet", 2))
    assert [queue.take() for _ in range(2)][1] == (b"ping", ("quiet", 2))


@pytest.mark.parametrize("kind", ["one sender", "many senders", "rubbish", "valid jobs"])
def test_a_flood_is_bounded_and_a_ping_gets_through(server: Running, session: MemorySession, kind: str) -> None:
    """A ping, tried three times, is answered during a flood (how fast: test_osc_soak.py); threads and memory stay."""
    stop = threading.Event()
    sent = [0]
    packet = {"rubbish": b"#bundle\0" + b"\xff" * 80, "valid jobs": build("/soundforge/generate", "x", 4, "j")}.get(
        kind, build("/soundforge/nope", 1.5, "abc"))

    def flood() -> None:
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(200 if "many" in kind else 1)]
        while not stop.is_set():
            for number in range(100):
                sockets[(sent[0] + number) % len(sockets)].sendto(packet, ("127.0.0.1", server.bridge.port))
            sent[0] += 100
            time.sleep(0.002)
        for each in sockets:
            each.close()

    client = server.client()
    client.ask("/soundforge/ping")
    threads, memory = threading.active_count(), resident_bytes()
    sender = threading.Thread(target=flood)
    sender.start()
    try:
        answered = 0
        for number in range(10):
            time.sleep(0.05)
            for _ in range(3):
                client.send("/soundforge/ping", number)
                try:
                    client.until("/soundforge/pong", 0.5)
                except TimeoutError:
                    continue
                answered += 1
                break
        assert threading.active_count() == threads + 1, "no thread per packet"
        assert len(server.bridge._intake.queue) <= 1024
    finally:
        stop.set()
        sender.join()
        session.calls.clear()
    assert answered == 10 and sent[0] > 1000
    assert resident_bytes() - memory < 30 * 2**20
    time.sleep(0.3)
    assert client.ask("/soundforge/status")[0] == "/soundforge/status" or client.until("/soundforge/status")


def resident_bytes() -> int:
    """Memory of this process; 0 where the system does not tell in this way."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def test_a_burst_of_automation_is_not_lost(session: MemorySession, client: Client) -> None:
    """What a host sends when it jumps: 250 messages at once, each of which counts."""
    for number in range(250):
        client.send("/soundforge/param/cfg", number / 100)
    client.until("/soundforge/param/cfg")
    deadline = time.monotonic() + 3
    while len(session.calls) < 250 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [call[2] for call in session.calls] == pytest.approx([number / 100 for number in range(250)])
