"""The kit inside pytest: `--soundforge-plugin NAME`, a one-line test module, fixtures; nothing without being asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
import soundforge as sf
from soundforge.interfaces import ClipProcessorDescriptor
SOUNDFORGE_CONTRACT = 1
@sf.hookimpl
def register_clip_processors(register):
    register(ClipProcessorDescriptor("softer", lambda host, options: soften, "half as loud"))
def soften(wave):
    return sf.Waveform(wave.samples * 0.5, wave.sample_rate)
"""
BAD = GOOD.replace("return sf.Waveform(wave.samples * 0.5, wave.sample_rate)", "return wave.samples")


def pytest_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", "-q", *words], cwd=folder,
                          capture_output=True, text=True, check=False)


def test_by_the_option_and_by_one_line(tmp_path: Path) -> None:
    (tmp_path / "softer_plugin.py").write_text(GOOD)
    (tmp_path / "conftest.py").write_text("")
    (tmp_path / "test_softer.py").write_text(
        "from soundforge.testing import plugin_checks\n\ntest_contract = plugin_checks('softer_plugin')\n\n"
        "def test_fixtures(soundforge_host, soundforge_context):\n"
        "    assert 'loudness' in soundforge_host.registries.clip_processors and soundforge_context.n_frames == 100\n")
    done = pytest_in(tmp_path, "--soundforge-plugin", "softer_plugin")
    assert done.returncode == 0 and "5 passed" in done.stdout, done.stdout + done.stderr


def test_a_breach_is_one_line_and_an_unknown_name_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("")
    (tmp_path / "loud_plugin.py").write_text(BAD)
    done = pytest_in(tmp_path, "--soundforge-plugin", "loud_plugin")
    assert done.returncode == 1 and "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "clip processor softer: processing Waveform" in done.stdout and "gave ndarray" in done.stdout
    done = pytest_in(tmp_path, "--soundforge-plugin", "nobody_at_all")
    assert done.returncode == 4 and "--soundforge-plugin: plugin came as 'nobody_at_all'" in done.stdout + done.stderr


def test_it_costs_nothing_where_it_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "test_empty.py").write_text(
        "import sys\n\ndef test_nothing_came_along():\n    assert 'torch' not in sys.modules\n"
        "    assert 'soundforge.host' not in sys.modules\n")
    assert pytest_in(tmp_path).returncode == 0


@pytest.mark.slow
def test_what_needs_weights_is_skipped_with_the_reason(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, "--soundforge-plugin", "encodec")
    assert done.returncode == 0 and "left to its own tests, with soundforge.testing.check_codec" in done.stdout
