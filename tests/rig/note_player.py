"""A JACK client that plays MIDI notes one by one, and knows when each one went out."""

from __future__ import annotations

import queue
import time

import jack
from jack_server import JackServer

NOTE_ON, NOTE_OFF = 0x90, 0x80


class NotePlayer:
    """`noteplayer:out`. A context manager; `play` from one thread.

    Args:
        server: must be the one that this process's environment names.
    """

    def __init__(self, server: JackServer) -> None:
        self._client = jack.Client("noteplayer", no_start_server=True, servername=server.name)
        self._out = self._client.midi_outports.register("out")
        self.port = str(self._out.name)
        self._due: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._sent: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._client.set_process_callback(self._process)

    def _process(self, frames: int) -> None:
        self._out.clear_buffer()
        try:
            message = self._due.get_nowait()
        except queue.Empty:
            return
        self._out.write_midi_event(0, message)
        if message[0] == NOTE_ON:
            self._sent.put(time.perf_counter())

    def play(self, note: int, velocity: int = 100) -> float:
        """A note on and its note off in the next cycles; `time.perf_counter()` of the note's cycle."""
        for status in (NOTE_ON, NOTE_OFF):
            self._due.put(bytes((status, note, velocity)))
        return self._sent.get(timeout=5)

    def __enter__(self) -> NotePlayer:
        self._client.activate()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.deactivate()
        self._client.close()
