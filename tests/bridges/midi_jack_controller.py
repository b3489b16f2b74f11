"""A controller for the test with a real MIDI system: an input with lamps, an output that plays.

`python midi_jack_controller.py` prints `ready` when its ports `lamps` and `keys` are there; a line on its input makes
it play; then it prints what was lit as JSON and ends. It opens nothing once messages may come: python-rtmidi holds the
interpreter's lock while JACK waits for the callback that wants it.
"""

from __future__ import annotations

import json
import sys
import time

import mido

backend = mido.Backend("mido.backends.rtmidi/UNIX_JACK")
lamps = backend.open_input("lamps", virtual=True)
with backend.open_output("keys", virtual=True) as out:
    print("ready", flush=True)
    sys.stdin.readline()
    for message in (mido.Message("note_on", note=36), mido.Message("note_off", note=36),
                    mido.Message("control_change", control=22, value=127),
                    mido.Message("note_on", note=50, velocity=127), mido.Message("control_change", control=123)):
        out.send(message)
        time.sleep(0.05)
    for packet in ([0x90, 51, 127], [52, 127], [53, 127], [0x90, 54, 0xF8], [127]):
        out._rt.send_message(packet)  # running status, and a clock inside a note
        time.sleep(0.05)
    for _ in range(50):
        out.send(mido.Message("note_on", note=40))
        out.send(mido.Message("note_off", note=40))
        time.sleep(0.02)
    time.sleep(0.3)
print(json.dumps([(m.type, m.note if m.type == "note_on" else m.control, getattr(m, "velocity", 0))
                  for m in lamps.iter_pending()]), flush=True)
lamps.close()
