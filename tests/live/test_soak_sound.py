"""Sound that never breaks while the engine generates without pause, on a real JACK server at 48 kHz, 256 samples.

The server's own late cycles are counted apart: a block that the device flagged while JACK itself was late is the
machine's. `benchmarks/live_underruns.py --jack --seconds 600` measures the same and prints the figures.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.rig, pytest.mark.slow]


def generate_for(seconds: float) -> dict[str, Any]:
    """The benchmark's figures, from a process of its own: it looks for the audio server in its environment."""
    done = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "live_underruns.py"), "--jack", "--seconds",
                           str(seconds)], capture_output=True, text=True, timeout=seconds + 180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(figures)
    return figures


@pytest.mark.parametrize("seconds", [5.0, pytest.param(600.0, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])])
def test_no_break_of_our_own_making(seconds: float) -> None:
    figures = generate_for(seconds)
    late = figures["late_cycles_of_the_server"]
    assert figures["jobs"] >= 1
    assert figures["overruns"] == 0
    assert figures["stream_underruns"] <= (late if seconds < 60.0 else 0)
    assert figures["late_blocks"] <= 2 * late, "each is reported by both directions"
