"""A JACK client that records several ports into one float WAV, sample-aligned: `python record_ports.py FILE PORT ...`.

Prints `recording` once it hears; writes the file when it is told to end. Ports that go away record as silence.
"""

from __future__ import annotations

import signal
import sys

import jack
import numpy as np
import soundfile

LONGEST_SECONDS = 900

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
path, wanted = sys.argv[1], sys.argv[2:]
client = jack.Client("portrecorder")
rate = client.samplerate
inputs = [client.inports.register(f"in_{number}") for number in range(1, len(wanted) + 1)]
heard = np.zeros((LONGEST_SECONDS * rate, len(wanted)), np.float32)
position = 0


@client.set_process_callback
def process(frames: int) -> None:
    global position
    room = min(frames, len(heard) - position)
    for channel, port in enumerate(inputs):
        heard[position:position + room, channel] = port.get_array()[:room]
    position += room


with client:
    for source, port in zip(wanted, inputs, strict=True):
        client.connect(source, port)
    print("recording", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
soundfile.write(path, heard[:position], rate, subtype="FLOAT")
