"""A JACK client that sends MIDI clock with jitter, and hears when sounds begin.

    python midi_sequencer.py BPM JITTER_MS BARS [LATER_BPM]

Ports: `sequencer:clock` (MIDI out), `sequencer:in` (audio in). It prints `ready`, waits for a line, sends Start and
BARS bars of four beats, each tick off its place by up to JITTER_MS either way, Stop, and prints as JSON the frames of
its bar lines and of every onset that it heard. With LATER_BPM the second half has another tempo.
"""

from __future__ import annotations

import json
import random
import sys
import threading

import jack
import numpy as np

bpm, jitter_ms, bars = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
later = float(sys.argv[4]) if len(sys.argv) > 4 else bpm
client = jack.Client("sequencer")
clock, sound = client.midi_outports.register("clock"), client.inports.register("in")
rate, source = client.samplerate, random.Random(1)

places = [0.0]
for number in range(bars * 96):
    places.append(places[-1] + rate * 60.0 / (bpm if number < bars * 48 else later) / 24)
jitter = rate * jitter_ms / 1000
lead = rate // 10  # the first ticks may be early
due = [(round(lead + place + source.uniform(-jitter, jitter)), 0xF8) for place in places[:-1]]
due = sorted([(min(due[0][0], lead) - 1, 0xFA), *due, (round(lead + places[-1]), 0xFC)])
heard = np.zeros(round(places[-1]) + 2 * rate, np.float32)
began, done = threading.Event(), threading.Event()
position = sent = 0


@client.set_process_callback
def process(frames: int) -> None:
    global position, sent
    clock.clear_buffer()
    if not began.is_set() or done.is_set():
        return
    while sent < len(due) and due[sent][0] < position + frames:
        clock.write_midi_event(max(0, due[sent][0] - position), (due[sent][1],))
        sent += 1
    end = min(len(heard), position + frames)
    heard[position:end] = sound.get_array()[:end - position]
    position += frames
    if position >= len(heard):
        done.set()


with client:
    print("ready", flush=True)
    sys.stdin.readline()
    began.set()
    done.wait()
loud = np.flatnonzero(np.abs(heard) > 0.05)
onsets = [int(frame) for frame, gap in zip(loud, np.diff(loud, prepend=-rate), strict=True) if gap > rate // 10]
print(json.dumps({"bars": [lead + places[bar * 96] for bar in range(bars + 1)], "onsets": onsets}), flush=True)
