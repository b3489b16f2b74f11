"""What every test shares: one thread for torch, hypothesis profiles, and where the golden files are."""

from __future__ import annotations

import os
from pathlib import Path

# Before anything imports numpy or torch: several test processes on a small machine starve each other otherwise.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from goldens import find_golden
from hypothesis import HealthCheck, settings

# No deadline: the first draw of a text builds a table for a second, and CI machines pause.
settings.register_profile("quick", max_examples=25, deadline=None,
                          suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
settings.register_profile("glance", settings.get_profile("quick"), max_examples=10)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1000)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Path:
    """The folder of the case named by `@pytest.mark.parametrize("golden", [...], indirect=True)`."""
    case = find_golden(str(request.param))
    if case is None:
        pytest.skip(f"no golden case {request.param!r} in tests/golden or beside the checkout")
    return case


@pytest.fixture(scope="session")
def tiny_model() -> str:
    """A real model that generates within a second: a reference model's folder, else the embedded one."""
    found = find_golden("musicgen_text")
    return str(found) if found else "starter"


# Modules of several seconds each, measured one by one; `make test-fast` must stay under a minute without them.
SLOW_MODULES = {
    "test_bench", "test_codec_bfloat16", "test_codecs_against_transformers", "test_compiled_step", "test_drift",
    "test_event_worker", "test_import_rules", "test_kernels", "test_link", "test_osc_map", "test_together",
    "test_audiocraft", "test_builtin_plugins", "test_codec_streams", "test_conformance_kit", "test_jasco_model",
    "test_jasco_plainly", "test_magnet_model", "test_musicgen_family", "test_starter_model",
    "test_mbd_decoder", "test_mbd_engine", "test_midi_bridge", "test_offline_device", "test_osc_server",
    "test_blending", "test_morph", "test_plugin_conditions", "test_plugin_page", "test_pytest_plugin",
    "test_written_notes", "test_plugin_command", "test_session", "test_streaming_layers",
}


def in_a_hurry(config: pytest.Config) -> bool:
    """Whether only the fast tests were asked for."""
    return "not slow" in config.getoption("markexpr")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("glance" if in_a_hurry(config) else "quick"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Slow modules are not even read in a hurry: to import all and then leave them out takes seconds."""
    return True if collection_path.stem in SLOW_MODULES and in_a_hurry(config) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in SLOW_MODULES:
            item.add_marker(pytest.mark.slow)
