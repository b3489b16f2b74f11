"""Lists and wires the ports of one JACK server, from its start to its end: `python patchbay.py`, one JSON line for each
line on its input: `["ports"]` gives their names, `["connect", "a:out", "b:in"]` "" or what went wrong.

One client for all of it. `jack_lsp` and `jack_connect` come and go with each question, and a server (measured: jackd
1.9.21) whose clients come and go at the same time may lose count of them: its cycle then waits for ten seconds and more
for a signal that was given, and everybody with it.
"""

from __future__ import annotations

import json
import os
import sys

import jack

client = jack.Client("patchbay", use_exact_name=True, no_start_server=True)
client.set_shutdown_callback(lambda status, reason: os._exit(0))
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    what, *names = json.loads(line)
    if what == "ports":
        print(json.dumps([port.name for port in client.get_ports()]), flush=True)
        continue
    try:
        client.connect(*names)
    except jack.JackError as error:
        print(json.dumps(str(error)), flush=True)
    else:
        print(json.dumps(""), flush=True)
client.close()
