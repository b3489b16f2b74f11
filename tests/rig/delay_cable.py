"""A JACK client that is a cable with latency: `python delay_cable.py SAMPLES`; ports `cable:in` and `cable:out`."""

from __future__ import annotations

import signal
import sys

import jack
import numpy as np

# Before JACK starts its threads, or one of them gets the signal and the process vanishes from the graph: a server in
# synchronous mode then stands still for it, and everybody with it.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
client = jack.Client("cable")
source, sink = client.inports.register("in"), client.outports.register("out")
held = np.zeros(int(sys.argv[1]), np.float32)


@client.set_process_callback
def process(frames: int) -> None:
    global held
    held = np.concatenate([held, source.get_array()])
    sink.get_array()[:] = held[:frames]
    held = held[frames:]


with client:
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
