"""ReaScript (Python): SoundForge takes over, and its clip lands on the selected track when it is done.

In REAPER: Actions, New action, Load ReaScript; give it a key. Needs nothing but Python itself (Options, Preferences,
Plug-ins, ReaScript). It takes the project's tempo, records four bars of what SoundForge hears, lets it go on for four,
and inserts the clip at the edit cursor. Outside REAPER it does the same and prints the clip's file:

    python soundforge_takeover.py [PORT] [BARS_IN] [BARS_OUT]
"""

import socket
import struct
import sys
import time

IN_REAPER = "RPR_Master_GetTempo" in globals()
WORDS = [] if IN_REAPER else sys.argv[1:]
PORT, BARS_IN, BARS_OUT = (int(word) for word in (*WORDS, *("9130", "4", "4")[len(WORDS):]))
WAIT_SECONDS = 300.0


def text(value):
    data = value.encode() + b"\0"
    return data + b"\0" * (-len(data) % 4)


def message(address, *values):
    tags = "," + "".join("s" if isinstance(v, str) else "i" if isinstance(v, int) else "f" for v in values)
    kinds = {"s": text, "i": lambda v: struct.pack(">i", v), "f": lambda v: struct.pack(">f", v)}
    return text(address) + text(tags) + b"".join(kinds[t](v) for t, v in zip(tags[1:], values, strict=True))


def parse(data):
    def take_text(at):
        end = data.index(b"\0", at)
        return data[at:end].decode(), end + 4 - (end - at) % 4

    address, at = take_text(0)
    tags, at = take_text(at)
    values = []
    for tag in tags[1:]:
        if tag == "s":
            value, at = take_text(at)
        else:
            value, at = struct.unpack_from(">i" if tag == "i" else ">f", data, at)[0], at + 4
        values.append(value)
    return address, values


def say(line):
    RPR_ShowConsoleMsg(line + "\n") if IN_REAPER else print(line, flush=True)  # noqa: F821


def start():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.connect(("127.0.0.1", PORT))
    udp.setblocking(False)
    if IN_REAPER:
        udp.send(message("/soundforge/transport/tempo", float(RPR_Master_GetTempo())))  # noqa: F821
    udp.send(message("/soundforge/takeover", BARS_IN, BARS_OUT, f"reaper-{time.time():.0f}"))
    return udp


def look(udp):
    """What came: True while something may still come. REAPER's window stays free: it asks again and again."""
    while True:
        try:
            address, values = parse(udp.recv(65536))
        except BlockingIOError:
            return time.time() < END
        except ConnectionError:
            say(f"nobody listens on port {PORT}; start soundforge serve")
            return False
        if address.endswith(("/job/playing", "/error", "/job/cancelled")):
            say(address + " " + " ".join(map(str, values)))
        if address.endswith("/job/done"):
            if IN_REAPER:
                RPR_InsertMedia(values[3], 0)  # noqa: F821
            say(values[3])
        if address.endswith(("/job/done", "/error", "/job/cancelled")):
            return False


def again():
    if look(UDP):
        RPR_defer("again()")  # noqa: F821


END = time.time() + WAIT_SECONDS
UDP = start()
if IN_REAPER:
    again()
else:
    while look(UDP):
        time.sleep(0.02)
