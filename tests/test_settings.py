"""Settings: precedence, conversion, and errors that name the mistake."""

from __future__ import annotations

import math
import os
import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundforge.errors import SettingsError
from soundforge.settings import KNOWN, Settings, config_file, load_settings, read_file


def load(tmp_path: Path, toml: str = "", environ: dict[str, str] | None = None, **flags: Any) -> Settings:
    file = tmp_path / "soundforge.toml"
    file.write_text(toml, encoding="utf-8")
    return load_settings(flags, environ=environ or {}, file=file)


def test_the_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.model, settings.osc_port, settings.osc_host) == ("starter", 9130, "127.0.0.1")
    assert (settings.block, settings.bpm, settings.clock, settings.rate) == (256, 120.0, "internal", None)
    assert settings.library.is_absolute()


def test_flags_win_over_environment_and_environment_over_file(tmp_path: Path) -> None:
    toml = 'osc-port = 1000\nbpm = 100\nmodel = "from-file"'
    environ = {"SOUNDFORGE_OSC_PORT": "2000", "SOUNDFORGE_BPM": "90.5"}
    settings = load(tmp_path, toml, environ, osc_port=3000)
    assert (settings.osc_port, settings.bpm, settings.model) == (3000, 90.5, "from-file")


def test_a_flag_that_was_not_given_leaves_the_file_its_word(tmp_path: Path) -> None:
    assert load(tmp_path, "block = 512", block=None).block == 512


def test_keys_may_be_written_with_dashes_or_underscores(tmp_path: Path) -> None:
    for key in ("midi_in", "midi-in"):
        assert load(tmp_path, f'{key} = ["a", "b"]').midi_in == ("a", "b")


def test_lists_in_the_environment_are_separated_by_commas(tmp_path: Path) -> None:
    settings = load(tmp_path, environ={"SOUNDFORGE_MIDI_IN": "nanoKONTROL2, Launchpad", "SOUNDFORGE_PRESETS": ""})
    assert settings.midi_in == ("nanoKONTROL2", "Launchpad")
    assert settings.presets == ()


@pytest.mark.parametrize(("flags", "message"), [
    ({"osc_port": 70_000}, r"osc_port came as 70000, expected a whole number from 0 to 65535"),
    ({"osc_port": 9130.5}, r"osc_port came as 9130.5"),
    ({"osc_port": True}, r"osc_port came as True"),
    ({"bpm": math.nan}, r"bpm came as nan, expected a number from 20 to 999"),
    ({"bpm": "fast"}, r"bpm came as 'fast'"),
    ({"clock": "sundial"}, r"clock came as 'sundial', expected one of internal, midi, link, jack"),
    ({"quantize": "int3"}, r"expected one of int8, int4"),
    ({"codec_precision": "float16"}, r"expected one of float32, bfloat16"),
    ({"model": ""}, r"model came as '', expected a text"),
    ({"midi_in": 3}, r"midi_in came as 3, expected a list of texts"),
    ({"debug": "perhaps"}, r"debug came as 'perhaps', expected true or false"),
    ({"library": "a\0b"}, r"library came as .*expected a path"),
    ({"bits": 25}, r"bits came as 25, expected 24 or 32"),
    ({"offline_input": "loop.wav"}, r"offline_input came without offline_device; add --offline-device"),
    ({"osc_prot": 9130}, r"'osc_prot', which is no setting; did you mean 'osc_port'\?"),
    ({"zzzzz": 1}, r"'zzzzz', which is no setting; known are model"),
])
def test_what_cannot_be_used_is_named_in_one_line(tmp_path: Path, flags: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load(tmp_path, **flags)
    assert "\n" not in str(caught.value)


def test_an_error_says_which_source_the_value_came_from(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"soundforge\.toml"):
        load(tmp_path, "bpm = 5")
    with pytest.raises(SettingsError, match="the environment"):
        load(tmp_path, environ={"SOUNDFORGE_BPM": "5"})


def test_a_misspelt_variable_is_an_error_and_a_foreign_one_is_not(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"SOUNDFORGE_OSC_PROT.*did you mean SOUNDFORGE_OSC_PORT"):
        load(tmp_path, environ={"SOUNDFORGE_OSC_PROT": "1"})
    foreign = {"SOUNDFORGE_PLUGINS": "text", "SOUNDFORGE_REVERB_FOLDER": "x", "PATH": "/bin"}
    assert load(tmp_path, environ=foreign) == load(tmp_path)


def test_a_broken_file_and_a_missing_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the settings file .*expected lines such as"):
        load(tmp_path, "osc-port 9130")
    with pytest.raises(SettingsError, match="there is no settings file"):
        load_settings(environ={"SOUNDFORGE_CONFIG": str(tmp_path / "none.toml")})
    assert read_file(tmp_path / "none.toml") == {}


def test_the_variable_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "stage.toml"
    file.write_text("beats-per-bar = 3", encoding="utf-8")
    environ = {"SOUNDFORGE_CONFIG": str(file)}
    assert config_file(environ) == file
    assert load_settings(environ=environ).beats_per_bar == 3


def test_settings_are_frozen_and_cross_to_other_processes(tmp_path: Path) -> None:
    settings = load(tmp_path, osc_allow=["10.0.0.7"])
    with pytest.raises(FrozenInstanceError):
        settings.bpm = 1.0  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_each_setting_has_a_one_line_help() -> None:
    assert all(item.metadata["help"] and "\n" not in item.metadata["help"] for item in KNOWN.values())


@given(st.dictionaries(st.sampled_from(sorted(KNOWN)),
                       st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
                                 st.lists(st.text(max_size=5), max_size=3), st.binary(max_size=4))))
def test_whatever_comes_it_is_settings_or_a_settings_error(flags: dict[str, Any]) -> None:
    try:
        settings = load_settings(flags, environ={}, file=Path(os.devnull))
    except SettingsError as error:
        assert str(error)
    else:
        assert Settings(**{name: getattr(settings, name) for name in KNOWN}) == settings
