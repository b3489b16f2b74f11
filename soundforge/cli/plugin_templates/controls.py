"""Templates of clip processor, bridge and model family."""

PROCESSOR_INIT = '''\
"""$name: a clip processor for SoundForge."""

import soundforge as sf
from soundforge.interfaces import ClipProcessorDescriptor

SOUNDFORGE_CONTRACT = 1


def _make(host, options):
    from $module.part import $Part

    return $Part(**options)


@sf.hookimpl
def register_clip_processors(register):
    register(ClipProcessorDescriptor("$part", _make, summary="soft saturation"))
'''

PROCESSOR = '''\
"""Waveform to waveform, after rendering. The input is never written to."""

import numpy as np
from soundforge import RequestError, Waveform


class $Part:
    def __init__(self, drive=2.0):
        if isinstance(drive, bool) or not isinstance(drive, (int, float)) or not 0 < drive <= 100:
            raise RequestError(f"drive came as {drive!r}, expected a number above 0, at most 100")
        self.drive = drive

    def __call__(self, wave):
        return Waveform(np.tanh(wave.samples * np.float32(self.drive)), wave.sample_rate)
'''

PROCESSOR_TEST = '''\
from soundforge.testing import check_clip_processor, check_plugin

from $module.part import $Part


def test_the_plugin_loads_and_imports_no_torch():
    check_plugin("$module")


def test_the_processor_keeps_the_contract():
    check_clip_processor($Part())
'''

LISTENER_INIT = '''\
"""$name: hears of what SoundForge does. Importing this module imports no torch."""

import soundforge as sf
from soundforge.requests import ClipEvent

from $module.part import $Part

SOUNDFORGE_CONTRACT = 1

_listener = $Part()


@sf.hookimpl
def on_event(event):
    """Runs on a thread of this plugin's own: it may block, upload, write."""
    if isinstance(event, ClipEvent) and event.kind == "rendered":
        _listener.rendered(event)
'''

LISTENER = '''\
"""A line for every clip, in the file that $$SOUNDFORGE_CLIP_LIST names (clips.txt)."""

import os
from pathlib import Path


class $Part:
    def rendered(self, event):
        """Write one line for a clip."""
        path = Path(os.environ.get("SOUNDFORGE_CLIP_LIST", "clips.txt"))
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{event.clip} {event.seconds:.2f} s {event.file}\\n")
'''

LISTENER_TEST = '''\
from soundforge.requests import ClipEvent, NoticeEvent
from soundforge.testing import check_plugin

import $module


def test_the_plugin_loads_and_imports_no_torch():
    check_plugin("$module")


def test_every_clip_is_a_line(tmp_path, monkeypatch):
    path = tmp_path / "list.txt"
    monkeypatch.setenv("SOUNDFORGE_CLIP_LIST", str(path))
    $module.on_event(ClipEvent("rendered", "clip-1", 2.5, 120.0, "clip-1.wav"))
    $module.on_event(NoticeEvent("info", "not a clip"))
    assert path.read_text() == "clip-1 2.50 s clip-1.wav\\n"
'''

BRIDGE_INIT = '''\
"""$name: a bridge for SoundForge."""

import soundforge as sf
from soundforge.interfaces import BridgeDescriptor

SOUNDFORGE_CONTRACT = 1


def _make(session, settings):
    from $module.part import $Part

    return $Part(session)


@sf.hookimpl
def register_bridges(register):
    register(BridgeDescriptor("$part", _make, summary="prints what happens"))
'''

BRIDGE = '''\
"""Prints every event. Lives on the control process's event loop: nothing here may block."""


class $Part:
    def __init__(self, session, write=print):
        self.session = session
        self.write = write
        self._leave = None

    async def start(self):
        self._leave = self.session.add_listener(self._heard)

    async def stop(self):
        """Safe to call twice."""
        if self._leave is not None:
            self._leave()
            self._leave = None

    def _heard(self, event, origin):
        self.write(f"$part: {event}")
'''

BRIDGE_TEST = '''\
import asyncio

import $module
from soundforge.requests import NoticeEvent
from soundforge.testing import QuietSession, check_bridge, check_plugin

from $module.part import $Part


def test_the_plugin_loads_and_imports_no_torch():
    check_plugin("$module")


def test_the_bridge_keeps_the_contract():
    registered = []
    $module.register_bridges(registered.append)
    check_bridge(registered[0])


def test_it_writes_what_it_hears():
    session, lines = QuietSession(), []
    asyncio.run($Part(session, lines.append).start())
    for listener in session.listeners:
        listener(NoticeEvent("info", "hello"), None)
    assert len(lines) == 1 and "hello" in lines[0]
'''

FAMILY_INIT = '''\
"""$name: a model family for SoundForge. `_recognises` looks at names and configuration only."""

import json

import soundforge as sf
from soundforge.interfaces import ModelFamilyDescriptor

SOUNDFORGE_CONTRACT = 1


def _recognises(folder):
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") == "$part"


def _load(host, folder, options):
    from $module.part import load

    return load(folder)


@sf.hookimpl
def register_model_families(register):
    register(ModelFamilyDescriptor("$part", _recognises, _load, embedded=("$part",), summary="noise to begin with"))
'''

FAMILY = '''\
"""A toy with random weights; put the reading of your checkpoints in its place."""

from dataclasses import replace

from soundforge import CheckpointError
from soundforge.testing.tiny_model import tiny_parts


def load(folder):
    """Parts of the model in `folder`, or of the one in this package when it is None."""
    if folder is not None and not (folder / "config.json").is_file():
        raise CheckpointError(f"{str(folder)!r} has no config.json, expected a checkpoint of $part")
    return replace(tiny_parts(), name="$part", slots=(), folder=folder)
'''

FAMILY_TEST = '''\
import $module
from soundforge.host import create_host
from soundforge.testing import check_model_family, check_plugin


def test_the_plugin_loads_and_imports_no_torch():
    check_plugin("$module")


def test_the_family_keeps_the_contract():
    registered = []
    $module.register_model_families(registered.append)
    check_model_family(registered[0], create_host(load_entry_points=False))
'''
