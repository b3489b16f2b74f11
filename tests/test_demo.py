"""`make demo`, whole: what it leaves, and that the continuation begins exactly where the capture ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import soundforge as sf
from soundforge.wav import read_clip, read_info

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that one run of the demo leaves."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run([sys.executable, str(ROOT / "examples" / "demo.py"), "--offline", "--folder", str(folder),
                           "--port", str(free_port())], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_it_leaves_three_recordings_and_a_picture(left: Path) -> None:
    captured, joined = sf.read(left / "captured.wav"), sf.read(left / "joined.wav")
    clip = read_clip(left / "continuation.wav")
    assert captured.seconds == pytest.approx(8.0, abs=0.001)
    assert clip.seconds == pytest.approx(8.0, abs=0.03)
    assert (clip.model, clip.seed) == ("starter", 7)
    assert joined.n_samples == captured.n_samples + clip.waveform.shape[1]
    np.testing.assert_array_equal(joined.samples[:, :captured.n_samples], captured.samples)
    np.testing.assert_array_equal(joined.samples[:, captured.n_samples:], clip.waveform)
    assert read_info(left / "joined.wav").bpm == 120
    assert (left / "joined.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_loop_is_what_was_captured(left: Path) -> None:
    """The capture begins on a bar line of the loop: the same samples, but for the rates in between."""
    captured = sf.read(left / "captured.wav")
    loop = sf.read(ROOT / "examples" / "loops" / "garzul_120bpm.flac")
    loop = loop.resampled(captured.sample_rate).with_channels(captured.channels)
    bar = captured.sample_rate * 2
    scores = [np.corrcoef(np.roll(loop.samples[0], -start * bar)[:captured.n_samples], captured.samples[0])[0, 1]
              for start in range(4)]
    assert max(scores) > 0.97
