"""Start a child process that Ctrl-C does not reach."""

from __future__ import annotations

import signal
import threading
from multiprocessing.process import BaseProcess


def start(process: BaseProcess) -> None:
    """Start a spawned process with interrupts ignored from its first instruction on.

    The child ignores them itself as soon as its own code runs; until then it would end with a traceback. Ignored
    signals stay ignored across exec (and on Windows nothing is inherited, and nothing is changed for long).
    """
    if threading.current_thread() is not threading.main_thread():
        process.start()  # signal handlers belong to the main thread
        return
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
