"""A JACK client that plays a sound file for ever: `python play_loop.py FILE`; ports `loopplayer:out_1` and `_2`."""

from __future__ import annotations

import signal
import sys

import jack
import numpy as np
import soundfile
import soxr

# Before JACK starts its threads, or one of them would get the signal and the process would vanish from the graph: a
# server in synchronous mode then waits five seconds for it, and everybody with it.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
client = jack.Client("loopplayer")
outputs = [client.outports.register(f"out_{number}") for number in (1, 2)]
samples, rate = soundfile.read(sys.argv[1], dtype="float32", always_2d=True)
samples = np.asarray(soxr.resample(samples, rate, client.samplerate), dtype=np.float32)
position = 0


@client.set_process_callback
def process(frames: int) -> None:
    global position
    index = np.arange(position, position + frames) % len(samples)
    for channel, port in enumerate(outputs):
        port.get_array()[:] = samples[index, channel % samples.shape[1]]
    position += frames


with client:
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
