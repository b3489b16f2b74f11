"""Every address against the real server: `soundforge serve` on the offline device with the starter model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from osc_peer import Client, Heard
from real_server import real_server

from soundforge.wav import read_info
from soundforge_bridges.osc.replies import REPLIES
from soundforge_bridges.osc.table import COMMANDS, find

pytestmark = pytest.mark.slow


class Talk:
    """A client of the real server that remembers which addresses it used."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client = client
        self.folder = folder
        self.used: set[str] = set()

    def ask(self, address: str, *values: Any, reply: str = "", seconds: float = 10.0) -> Heard:
        """Send and wait for the reply; an error instead of it fails the test at once."""
        found = find(address)
        assert found is not None
        self.used.add(found[0].address)
        self.client.drain(0.02)
        self.client.send(address, *values)
        end = time.monotonic() + seconds
        while True:
            heard = self.client.receive(max(0.001, end - time.monotonic()))
            assert heard[0] in REPLIES or heard[0].startswith(("/soundforge/param/", "/soundforge/condition/"))
            if heard[0] == (reply or address):
                return heard
            assert heard[0] not in ("/soundforge/error", "/soundforge/job/error"), heard


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    folder = tmp_path_factory.mktemp("served")
    with real_server(folder) as server:
        yield Talk(server.client, folder)


def test_a_whole_round_uses_every_address(talk: Talk) -> None:
    assert talk.ask("/soundforge/ping", 1, 2.5, "x", reply="/soundforge/pong")[1] == (1, 2.5, "x")
    assert talk.ask("/soundforge/commands")[1][0] == COMMANDS[0].address
    talk.ask("/soundforge/subscribe", reply="/soundforge/subscribed")
    assert talk.ask("/soundforge/unsubscribe", reply="/soundforge/unsubscribed")[1] == (talk.client.port,)
    assert talk.ask("/soundforge/status")[1][1] == "starter"
    assert talk.ask("/soundforge/device")[1][:6] == ("offline", 48_000, 256, 0.0, 0.0, "reported")
    assert talk.ask("/soundforge/model", reply="/soundforge/status")[1][0] == "ready"
    assert talk.ask("/soundforge/param/quantum", 0)[1] == (0.0,)
    assert talk.ask("/soundforge/param/seed", 7.0)[1] == (7,)
    assert talk.ask("/soundforge/condition/text", "dub")[1] == ("dub",)
    transport = "/soundforge/transport"
    assert talk.ask(f"{transport}/tempo", 240, reply=transport)[1][:3] == ("internal", 240.0, 1)
    assert talk.ask(f"{transport}/signature", 4, 4, reply=transport)
    assert talk.ask(f"{transport}/source", "internal", reply=transport)
    assert talk.ask(f"{transport}/stop", reply=transport)[1][2] == 0
    assert talk.ask(f"{transport}/position", 8, reply=transport)[1][3] == pytest.approx(8.0)
    assert talk.ask(f"{transport}/start", reply=transport)[1][2] == 1
    assert talk.ask(transport)[1][3] >= 8.0

    assert talk.ask("/soundforge/capture/start", "mine", reply="/soundforge/capture/started")[1] == ("mine",)
    time.sleep(1.0)
    take, seconds, peak = talk.ask("/soundforge/capture/stop", reply="/soundforge/take")[1]
    assert take == "mine" and 0.9 < seconds < 3.0 and -60 < peak < 1
    assert talk.ask("/soundforge/continue", "mine", 1, "j1", reply="/soundforge/job/accepted")[1] == ("j1",)
    job, clip, length, file = talk.client.until("/soundforge/job/done", 60)[1]
    assert (job, length) == ("j1", pytest.approx(1.0, abs=0.05)) and Path(file).is_file()
    assert read_info(file).record["request"]["tags"]["take"] == "mine"
    for command, reply in (("regenerate", "j2"), ("generate", "j3")):
        arguments = (reply,) if command == "regenerate" else ("", 1.0, reply)
        talk.ask(f"/soundforge/{command}", *arguments, reply="/soundforge/job/accepted")
        assert talk.client.until("/soundforge/job/done", 60)[1][0] == reply

    for command in ("info", "play", "stop"):
        assert talk.ask(f"/soundforge/clip/{command}", clip, reply="/soundforge/clip")[1][0] == clip
    talk.ask("/soundforge/clip/pad", clip, 5, reply="/soundforge/clip")
    toggle = talk.ask("/soundforge/pad/set", 5, 1, 0.5, "toggle", reply="/soundforge/pad")
    assert toggle[1] == (5, clip, 1, 0.5, "toggle")
    for command in ("play", "stop", "clear"):
        assert talk.ask(f"/soundforge/pad/{command}", 5, reply="/soundforge/pad")[1][0] == 5
    assert talk.ask("/soundforge/pad/list", reply="/soundforge/pad")[1][0] == 1
    assert talk.ask("/soundforge/clip/list", reply="/soundforge/clip/listed")[1] == (3,)
    talk.ask("/soundforge/clip/delete", clip, reply="/soundforge/clip")
    time.sleep(0.5)
    assert not Path(file).exists()
    assert talk.ask("/soundforge/clip/list", reply="/soundforge/clip/listed")[1] == (2,)

    talk.ask("/soundforge/capture/bars", 1, "bar", reply="/soundforge/capture/started", seconds=8)
    assert talk.client.until("/soundforge/take", 8)[1][:2] == ("bar", pytest.approx(1.0, abs=0.01))
    talk.ask("/soundforge/takeover", 1, 0, "over", reply="/soundforge/job/accepted")
    assert talk.client.until("/soundforge/job/playing", 20)[1][0] == "over"
    talk.client.send("/soundforge/release")
    talk.used.add("/soundforge/release")
    assert talk.client.until("/soundforge/job/done", 60)[1][0] == "over"
    for command in ("generate", "continue"):
        talk.ask(f"/soundforge/{command}/endless", "", f"on {command}", reply="/soundforge/job/accepted")
        assert talk.client.until("/soundforge/job/playing", 60)[1][0] == f"on {command}"
        talk.ask("/soundforge/release", f"on {command}", reply="/soundforge/job/done", seconds=30)
    talk.ask("/soundforge/generate", "", 30, "long", reply="/soundforge/job/accepted")
    assert talk.ask("/soundforge/cancel", "long", reply="/soundforge/job/cancelled")[1] == ("long",)
    assert talk.ask("/soundforge/panic", reply="/soundforge/status")
    assert talk.used == {command.address for command in COMMANDS}


def test_what_is_dropped_is_counted_in_the_status(talk: Talk) -> None:
    before = talk.ask("/soundforge/status")[1][6]
    for _ in range(7):
        talk.client.send_raw(b"no OSC at all")
    assert talk.ask("/soundforge/status")[1][6] == before + 7


@pytest.mark.parametrize(("address", "values", "what"), [
    ("/soundforge/nope", (), "no such address"),
    ("/soundforge/param/cfg", (float("nan"),), "expected a number from -100 to 100"),
    ("/soundforge/param/top_p", (2,), "top_p came as 2, expected 0 to 1"),
    ("/soundforge/param/zzz", (), "expected one of text, "),
    ("/soundforge/condition/kazoo", ("x",), "condition came as 'kazoo'"),
    ("/soundforge/continue", ("nope",), "take came as 'nope', which is not in the library"),
    ("/soundforge/continue", ("../../x",), "not in the library"),
    ("/soundforge/capture/start", ("../x",), "paths are never taken"),
    ("/soundforge/capture/stop", (), "capture"),
    ("/soundforge/clip/play", ("nope",), "not in the library"),
    ("/soundforge/cancel", ("nope",), "job came as 'nope'"),
    ("/soundforge/release", (), "takeover"),
    ("/soundforge/transport/source", ("moon",), "source came as 'moon'"),
    ("/soundforge/transport/signature", (4, 3), "signature came as 4/3"),
    ("/soundforge/generate", ("x", 1e9), "seconds came as 1e+09"),
], ids=lambda v: str(v)[:30])
def test_bad_input_is_answered_and_survived(talk: Talk, address: str, values: tuple[Any, ...], what: str) -> None:
    talk.client.drain()
    talk.client.send(address, *values)
    _, (where, text) = talk.client.until("/soundforge/error")
    assert where == address and what in text and "\n" not in text
    assert talk.ask("/soundforge/ping", 3, reply="/soundforge/pong")[1] == (3,)
