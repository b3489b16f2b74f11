"""Audio first, the engine last: scheduling priorities, as far as the system lets us.

Every call is a wish. Where the system refuses (an ordinary user on Linux without rtkit limits) things run at the
ordinary priority, as any audio program's do, and `granted` says so.
"""

from __future__ import annotations

import os
import sys

AUDIO_NICENESS, ENGINE_NICENESS = -11, 3
FIFO_PRIORITY = 5  # real-time, but below the sound server's own threads
WINDOWS_HIGH, WINDOWS_BELOW_NORMAL = 0x80, 0x4000


def raise_process() -> bool:
    """This process before ordinary ones; True when it was granted."""
    return _set_process(AUDIO_NICENESS, WINDOWS_HIGH)


def lower_process() -> bool:
    """This process after ordinary ones; True when it was granted."""
    return _set_process(ENGINE_NICENESS, WINDOWS_BELOW_NORMAL)


def raise_thread() -> bool:
    """The calling thread to real-time scheduling, where there is such a call; True when it was granted."""
    set_scheduler = getattr(os, "sched_setscheduler", None)  # Linux; CoreAudio and WASAPI see to their own threads
    if set_scheduler is None:
        return False
    try:
        set_scheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    except OSError:
        return False
    return True


def _set_process(niceness: int, windows_class: int) -> bool:
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.windll.kernel32
        return bool(kernel.SetPriorityClass(kernel.GetCurrentProcess(), windows_class))
    try:
        os.nice(niceness)
    except OSError:
        return False
    return True
