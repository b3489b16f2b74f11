"""WAV files: exact samples, metadata that other programs read, and hostile files that end in one error."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import shutil
import struct
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from soundforge import Clip, GenerateRequest, SamplingParams, Waveform
from soundforge.errors import AudioError, LibraryError
from soundforge.take import Take
from soundforge.wav import read_clip, read_info, read_take, write_clip, write_take, write_wave

RATE = 32_000


def noise(channels: int = 1, n: int = RATE * 2, peak: float = 0.5) -> np.ndarray:
    samples = np.random.default_rng(5).standard_normal((channels, n)).astype(np.float32)
    return samples * np.float32(peak / max(float(np.abs(samples).max()), 1e-9)) if samples.size else samples


def make_clip(**changes: Any) -> Clip:
    request = GenerateRequest(
        text="wärm drums, 90 bpm", bars=1, bpm=120.0, seed=77, sampling=SamplingParams(0.7, 50, 0.25, 2.5),
        conditions={"chroma": Waveform(noise(1, 100), RATE), "chords": "C:maj F"}, guidance={"chroma": 1.5},
        condition_options={"style": {"eval_q": 3}}, tags={"start_beat": 8.0, "take": "take-0001"})
    values: dict[str, Any] = {
        "waveform": noise(2), "sample_rate": RATE, "request": request, "seed": 77,
        "codes": np.arange(400, dtype=np.int64).reshape(4, 100) * 5, "model": "starter", "prompt_samples": 640,
        "bpm": 120.0, "beats_per_bar": 4, "info": {"rtf": 2.5, "changes": [{"frame": 3, "temperature": 0.5}]}}
    return Clip(**(values | changes))


def test_float_clip_comes_back_exactly(tmp_path: Path) -> None:
    clip = make_clip(waveform=noise(2, peak=3.0))  # beyond full scale: floats are never scaled
    back = read_clip(clip.save(tmp_path / "a.wav"))
    assert np.array_equal(back.waveform, clip.waveform)
    assert back.codes is not None and np.array_equal(back.codes, clip.codes) and back.codes.dtype == np.int64
    for name in ("sample_rate", "seed", "model", "prompt_samples", "bpm", "beats_per_bar", "info"):
        assert getattr(back, name) == getattr(clip, name), name
    for name in ("text", "bars", "bpm", "seed", "sampling", "guidance", "condition_options", "tags"):
        assert getattr(back.request, name) == getattr(clip.request, name), name
    assert back.request.conditions["chords"] == "C:maj F"
    assert len(back.request.conditions["chroma"]["audio_sha256"]) == 64


@pytest.mark.parametrize("bits", [16, 24])
def test_integers_are_exact_to_half_a_step(tmp_path: Path, bits: int) -> None:
    clip = make_clip(waveform=noise(3, 1001, peak=1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = write_clip(clip, tmp_path / "a.wav", bits=bits)
    step = 2.0 ** (1 - bits)
    got = soundfile.read(path, dtype="float64", always_2d=True)[0].T
    assert soundfile.info(path).subtype == f"PCM_{bits}"
    assert np.abs(got - clip.waveform).max() <= step * 1.0001
    inside = np.abs(clip.waveform) < 1 - step
    assert np.abs(got - clip.waveform)[inside].max() <= step * 0.5001


def test_integers_that_would_clip_are_normalised_and_say_so(tmp_path: Path) -> None:
    clip = make_clip(waveform=noise(1, peak=2.0))
    with pytest.warns(UserWarning, match=r"6\.0 dB over full scale and 24-bit integers would clip"):
        path = write_clip(clip, tmp_path / "a.wav", bits=24)
    raw = soundfile.read(path, dtype="float32")[0]
    assert np.abs(raw).max() == pytest.approx(1.0, abs=1e-6)
    assert np.abs(read_clip(path).waveform - clip.waveform).max() < 1e-6, "the gain is recorded and undone"


def test_odd_values_in_the_record(tmp_path: Path) -> None:
    info = {"rtf": float("inf"), "nan": [float("nan"), 1.5], "array": np.arange(3), "number": np.float32(0.5),
            "path": Path("x"), "tuple": (1, 2)}
    path = make_clip(info=info).save(tmp_path / "a.wav")
    assert b"NaN" not in path.read_bytes() and b"Infinity" not in path.read_bytes()
    assert read_clip(path).info == {"rtf": None, "nan": [None, 1.5], "array": [0, 1, 2], "number": 0.5, "path": "x",
                                    "tuple": [1, 2]}
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for what in ({"x": object()}, {"x": deep}):
        with pytest.raises(AudioError, match="cannot be written as JSON"):
            make_clip(info=what).save(tmp_path / "b.wav")
    assert not (tmp_path / "b.wav").exists()


def test_other_bit_depths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="bits came as 8, expected 32"):
        write_clip(make_clip(), tmp_path / "a.wav", bits=8)
    assert list(tmp_path.iterdir()) == []


# --- two independent readers ------------------------------------------------------------------------------


class LoopInfo(ctypes.Structure):
    """SF_LOOP_INFO of sndfile.h."""

    _fields_ = [("numerator", ctypes.c_short), ("denominator", ctypes.c_short), ("loop_mode", ctypes.c_int),
                ("num_beats", ctypes.c_int), ("bpm", ctypes.c_float), ("root_key", ctypes.c_int),
                ("future", ctypes.c_int * 6)]


class Loop(ctypes.Structure):
    _fields_ = [("mode", ctypes.c_int), ("start", ctypes.c_uint32), ("end", ctypes.c_uint32),
                ("count", ctypes.c_uint32)]


class Instrument(ctypes.Structure):
    """SF_INSTRUMENT of sndfile.h."""

    _fields_ = [("gain", ctypes.c_int), *[(name, ctypes.c_char) for name in
                ("basenote", "detune", "velocity_lo", "velocity_hi", "key_lo", "key_hi")],
                ("loop_count", ctypes.c_int), ("loops", Loop * 16)]


def libsndfile_command(path: Path, command: int, into: ctypes.Structure) -> bool:
    with soundfile.SoundFile(path) as opened:
        given = ctypes.create_string_buffer(ctypes.sizeof(into))
        buffer = soundfile._ffi.from_buffer(given)
        ok = soundfile._snd.sf_command(opened._file, command, buffer, len(given))
        ctypes.memmove(ctypes.byref(into), given, len(given))
        return bool(ok)


def test_libsndfile_reads_tempo_and_loop(tmp_path: Path) -> None:
    path = make_clip(beats_per_bar=3, waveform=noise(1, RATE * 3)).save(tmp_path / "a.wav")
    info, instrument = LoopInfo(), Instrument()
    assert libsndfile_command(path, 0x10E0, info), "SFC_GET_LOOP_INFO"
    assert (info.bpm, info.num_beats, info.numerator, info.denominator) == (120.0, 6, 3, 4)
    assert info.loop_mode == 801, "SF_LOOP_FORWARD"
    assert libsndfile_command(path, 0x10D0, instrument), "SFC_GET_INSTRUMENT"
    assert (instrument.loop_count, instrument.loops[0].start, instrument.loops[0].mode) == (1, 0, 801)
    assert instrument.loops[0].end in (RATE * 3 - 1, RATE * 3), "inclusive in the file; libsndfile 1.2 adds one"


def test_no_whole_beats_is_a_one_shot_with_its_tempo(tmp_path: Path) -> None:
    path = make_clip(waveform=noise(1, RATE + 4000)).save(tmp_path / "a.wav")
    info = LoopInfo()
    assert libsndfile_command(path, 0x10E0, info)
    assert (info.bpm, info.loop_mode) == (120.0, 800), "SF_LOOP_NONE"


@pytest.mark.rig
@pytest.mark.skipif(not shutil.which("sndfile-info") and not os.environ.get("CI"), reason="needs sndfile-programs")
def test_sndfile_info_prints_it(tmp_path: Path) -> None:
    path = make_clip().save(tmp_path / "a.wav")
    def printed(*options: str) -> str:
        command = ["sndfile-info", *options, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    assert "SoundForge" in printed("--broadcast")
    assert "120" in printed() and "Loop" in printed()


def chunks_by_the_specification(path: Path) -> dict[bytes, bytes]:
    """An independent reader: the RIFF specification and nothing of ours."""
    data = path.read_bytes()
    riff, size, wave = struct.unpack("<4sI4s", data[:12])
    assert (riff, size, wave) == (b"RIFF", len(data) - 8, b"WAVE")
    found, at = {}, 12
    while at < len(data):
        name, size = struct.unpack("<4sI", data[at:at + 8])
        found[name] = data[at + 8:at + 8 + size]
        assert len(found[name]) == size
        at += 8 + size + (size & 1)
    assert at == len(data)
    return found


def test_chunks_by_the_specification(tmp_path: Path) -> None:
    clip = make_clip()
    found = chunks_by_the_specification(clip.save(tmp_path / "a.wav"))
    flags, root, _, _, beats, denominator, numerator, tempo = struct.unpack("<IHHfIHHf", found[b"acid"])
    assert (flags, root, beats, denominator, numerator, tempo) == (4, 60, 4, 4, 4, 120.0)
    smpl = struct.unpack("<15I", found[b"smpl"])
    assert smpl[2] == 31_250 and smpl[3] == 60 and smpl[7] == 1, "period in ns, unity note, loops"
    assert smpl[11:13] == (0, RATE * 2 - 1)
    assert "wärm drums".encode() in found[b"LIST"] and found[b"LIST"].startswith(b"INFOINAM")
    bext = found[b"bext"]
    assert len(bext) == 602 and bext[256:266] == b"SoundForge"
    assert struct.unpack("<Q", bext[338:346])[0] == 4 * RATE, "beat 8 at 120 bpm is 4 s"
    record = json.loads(found[b"sfrg"])
    assert record["request"]["sampling"]["top_k"] == 50 and record["codes"]["dtype"] == "<i2"
    assert struct.unpack("<I", found[b"fact"])[0] == RATE * 2
    assert np.array_equal(np.frombuffer(found[b"data"], "<f4").reshape(-1, 2).T, clip.waveform)


@pytest.mark.rig
@pytest.mark.skipif(not shutil.which("sox") and not os.environ.get("CI"), reason="needs sox")
def test_sox_reads_it_without_complaint(tmp_path: Path) -> None:
    path = make_clip().save(tmp_path / "a.wav", bits=24)
    done = subprocess.run(["sox", str(path), "-n", "stat"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "WARN" not in done.stderr, done.stderr
    assert "2.000000" in done.stderr


# --- takes and plain waves --------------------------------------------------------------------------------


def test_take_round_trip(tmp_path: Path) -> None:
    take = Take(Waveform(noise(2), 48_000), bpm=93.5, beats_per_bar=7, start_beat=14.25, source="input 3",
                info={"clipped": True})
    back = read_take(write_take(take, tmp_path / "t.wav"))
    assert np.array_equal(back.waveform.samples, take.waveform.samples)
    assert (back.bpm, back.beats_per_bar, back.start_beat, back.source, dict(back.info), back.sample_rate) == (
        93.5, 7, 14.25, "input 3", {"clipped": True}, 48_000)


def test_foreign_wav_reads_as_clip_and_take(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "f.wav", noise(2).T, 44_100, subtype="PCM_16")
    clip, take = read_clip(tmp_path / "f.wav"), read_take(tmp_path / "f.wav")
    assert (clip.channels, clip.sample_rate, clip.bpm, clip.codes) == (2, 44_100, None, None)
    assert take.source == "f.wav" and take.bpm is None


def test_wave_with_tempo(tmp_path: Path) -> None:
    write_wave(Waveform(noise(), RATE), tmp_path / "deep" / "w.wav", bits=16, bpm=60)
    info = read_info(tmp_path / "deep" / "w.wav")
    assert (info.bpm, info.bits, info.is_float, info.seconds, info.record) == (60.0, 16, False, 2.0, {})


@pytest.mark.parametrize("name", ["a.mp3", "a.FLAC"])
def test_a_clip_is_not_saved_under_the_name_of_another_format(tmp_path: Path, name: str) -> None:
    with pytest.raises(AudioError, match=r"expected a name that ends in \.wav"):
        make_clip().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_empty_wave(tmp_path: Path) -> None:
    path = write_wave(Waveform(noise(1, 0), RATE), tmp_path / "w.wav", bpm=60)
    assert read_clip(path).waveform.shape == (1, 0)


@settings(max_examples=40, deadline=None)
@given(channels=st.integers(1, 8), n=st.integers(0, 50), rate=st.sampled_from([1000, 32_000, 44_100, 768_000]),
       bpm=st.none() | st.floats(20, 999, width=32), text=st.text(max_size=40), seed=st.integers(-2**63, 2**63 - 1),
       codes=st.lists(st.integers(-2**40, 2**40), min_size=0, max_size=9))
def test_any_clip_round_trips(tmp_path_factory: pytest.TempPathFactory, channels: int, n: int, rate: int,
                              bpm: float | None, text: str, seed: int, codes: list[int]) -> None:
    clip = Clip(noise(channels, n), rate, GenerateRequest(text=text), seed=seed, bpm=bpm,
                codes=np.array([codes], dtype=np.int64))
    path = tmp_path_factory.mktemp("any") / "a.wav"
    back = read_clip(write_clip(clip, path))
    assert np.array_equal(back.waveform, clip.waveform) and back.sample_rate == rate
    assert (back.seed, back.bpm, back.request.text) == (seed, bpm, text)
    assert back.codes is not None and back.codes.tolist() == [codes]
    assert soundfile.info(path).frames == n


# --- hostile files ----------------------------------------------------------------------------------------


def test_missing_and_other_files(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="cannot read"):
        read_clip(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="cannot read"):
        read_clip(tmp_path)
    (tmp_path / "t.wav").write_bytes(b"just text")
    with pytest.raises(AudioError, match="expected a RIFF WAVE file"):
        read_clip(tmp_path / "t.wav")


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    whole = make_clip(waveform=noise(1, 64)).save(tmp_path / "a.wav").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.wav").write_bytes(whole[:length])
        with pytest.raises(AudioError):
            read_clip(tmp_path / "cut.wav")


@settings(max_examples=4 * settings.default.max_examples)
@given(data=st.data())
def test_damage_gives_a_clip_or_an_audio_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damage")
    whole = bytearray(make_clip(waveform=noise(1, 16)).save(folder / "a.wav").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(whole) - 4))
        whole[at:at + 4] = data.draw(st.sampled_from(
            [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x80", b"{{{{"]) | st.binary(min_size=4, max_size=4))
    (folder / "b.wav").write_bytes(whole)
    for read in (read_clip, read_take, read_info):
        try:
            read(folder / "b.wav")
        except AudioError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("record", [
    b"{", b"[]", b"null", b'{"format":99}', b'{"format":1,"kind":"clip","request":{"sampling":{"temperature":-3}}}',
    b'{"format":1,"kind":"clip","codes":{"shape":[4,100000000000],"dtype":"<i2","base64":"AAAA"}}',
    b'{"format":1,"kind":"clip","codes":{"shape":[1,2],"dtype":"O","base64":"AAAA"}}',
    b'{"format":1,"kind":"clip","seed":"x"}', b'{"format":1,"kind":"clip","request":7}', b"[" * 100_000,
    b'{"format":1,"kind":"clip","info":5}', b'{"format":1,"kind":"clip","seed":1e999}', b"\xff\xfe",
])
def test_hostile_records(tmp_path: Path, record: bytes) -> None:
    path = write_wave(Waveform(noise(1, 8), RATE), tmp_path / "a.wav")
    raw = path.read_bytes() + b"sfrg" + struct.pack("<I", len(record)) + record + b"\0" * (len(record) % 2)
    path.write_bytes(raw[:4] + struct.pack("<I", len(raw) - 8) + raw[8:])
    with pytest.raises(AudioError):
        read_clip(path)


# --- writing fails ----------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """In a process of its own: its file size limit makes the write fail in the middle, as a full disk does."""
    code = f"""
import resource, signal, numpy as np
from soundforge import Clip
from soundforge.errors import LibraryError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
clip = Clip(np.zeros((1, 100_000), np.float32), 32000)
clip.save({str(tmp_path / "a.wav")!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    Clip(np.ones((1, 100_000), np.float32), 32000).save({str(tmp_path / "a.wav")!r})
except LibraryError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout and "larger than allowed" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]
    assert read_clip(tmp_path / "a.wav").waveform.max() == 0.0, "the file from before is untouched"


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_really_full_disk(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], check=False).returncode:
        pytest.skip("no permission to mount here")
    try:
        with pytest.raises(LibraryError, match="the disk is full"):
            make_clip(waveform=noise(1, 200_000)).save(tmp_path / "a.wav")
        assert list(tmp_path.iterdir()) == []
        make_clip(waveform=noise(1, 1000)).save(tmp_path / "a.wav")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_unusable_places(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LibraryError, match="cannot write"):
        make_clip().save(tmp_path / "file" / "a.wav")
    with pytest.raises(LibraryError, match="cannot write"):
        make_clip().save(tmp_path / "nul\0.wav")
    write_clip(make_clip(), tmp_path / "a.wav")
    with pytest.raises(LibraryError, match="exists already"):
        write_clip(make_clip(), tmp_path / "a.wav", replace=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.wav", "file"]


def test_more_than_a_wav_file_holds(tmp_path: Path) -> None:
    samples = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (2**32,), (0,))
    from soundforge.wav_riff import layout

    with pytest.raises(AudioError, match=r"4\.0 GiB were to be written"):
        layout([(b"data", samples)])
