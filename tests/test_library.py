"""The library: ids, limits, and consistency whatever happens to the process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from soundforge import Clip, LibraryError, Waveform
from soundforge.library import Library
from soundforge.take import Take
from soundforge.wav_file import TEMPORARY_PREFIX, remove_leftovers

RATE = 8_000


def clip(value: float = 0.5, n: int = RATE) -> Clip:
    return Clip(np.full((1, n), value, np.float32), RATE, bpm=90.0, seed=3)


def take(value: float = 0.5, n: int = RATE) -> Take:
    return Take(Waveform(np.full((2, n), value, np.float32), RATE), bpm=120.0, start_beat=4.0)


def test_ids_go_on_after_a_restart(tmp_path: Path) -> None:
    library = Library(tmp_path)
    assert [library.next_id("take"), library.next_id("take"), library.next_id("clip")] == [
        "take-0001", "take-0002", "clip-0001"]
    library.save_take(take(), "take-0002")
    library.save_clip(clip(), "drums")
    again = Library(tmp_path)
    assert (again.next_id("take"), again.next_id("clip")) == ("take-0003", "clip-0001")


def test_save_info_list_load_delete(tmp_path: Path) -> None:
    library = Library(tmp_path)
    saved = library.save_clip(clip(0.25), "clip-0001")
    library.save_take(take(0.75), "clip-0001")  # takes and clips have names of their own
    assert saved == library.info("clip", "clip-0001") == Library(tmp_path).info("clip", "clip-0001")
    assert (saved.seconds, saved.bpm, saved.sample_rate, saved.channels) == (1.0, 90.0, RATE, 1)
    assert saved.path == tmp_path / "clips" / "clip-0001.wav" and saved.file_bytes == saved.path.stat().st_size
    assert library.load_clip("clip-0001").waveform[0, 0] == 0.25
    assert library.load_take("clip-0001").waveform.samples[1, 5] == 0.75
    assert library.load_take("clip-0001").start_beat == 4.0
    assert [entry.id for entry in library.list("clip")] == ["clip-0001"]
    latest = library.latest("take")
    assert latest is not None and latest.id == "clip-0001"
    library.delete("clip", "clip-0001")
    assert not saved.path.exists() and library.latest("clip") is None
    with pytest.raises(LibraryError, match=r"clip came as 'clip-0001', which is not in the library; there are no"):
        library.load_clip("clip-0001")


def test_same_name_replaces(tmp_path: Path) -> None:
    library = Library(tmp_path)
    library.save_take(take(0.1), "loop")
    library.save_take(take(0.2, 100), "loop")
    assert library.load_take("loop").waveform.n_samples == 100 and len(library.list("take")) == 1
    with pytest.raises(LibraryError, match="'LOOP' and 'loop' exists; names that differ in case only"):
        library.save_take(take(), "LOOP")


@pytest.mark.parametrize("name", [
    "", ".", "..", "../x", "a/b", "a\\b", "/etc/passwd", "C:x", "~", ".hidden", "a\0b", "a b", "con", "NUL.wav", "x.",
    "a" * 65, "ä", "a\nb", "*", "-x"])
def test_no_name_is_a_path(tmp_path: Path, name: str) -> None:
    library = Library(tmp_path / "library")
    for call in (lambda: library.save_clip(clip(), name), lambda: library.save_take(take(), name),
                 lambda: library.load_clip(name), lambda: library.delete("take", name)):
        with pytest.raises(LibraryError, match="came as") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["clips", "library", "takes"]


def test_limit(tmp_path: Path) -> None:
    library = Library(tmp_path, limit_bytes=100_000)
    library.save_clip(clip(), "a")
    library.save_clip(clip(), "b")
    with pytest.raises(LibraryError, match=r"limit is 0\.1 MiB; delete clips or takes, or raise library_limit_bytes"):
        library.save_clip(clip(), "c")
    library.save_clip(clip(0.9), "b")  # in place of its old self
    library.delete("clip", "a")
    library.save_clip(clip(), "c")
    assert library.used_bytes == sum(p.stat().st_size for p in (tmp_path / "clips").iterdir())


def test_another_program_took_the_name(tmp_path: Path) -> None:
    library, other = Library(tmp_path), Library(tmp_path)
    other.save_clip(clip(0.1), "clip-0001")
    with pytest.raises(LibraryError, match="exists already"):
        library.save_clip(clip(0.9), library.next_id("clip"))
    assert other.load_clip("clip-0001").waveform[0, 0] == np.float32(0.1)
    assert library.used_bytes == 0, "the failed write is not counted"


def test_strange_files_are_named_and_left(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "bad.wav").write_bytes(b"RIFF")
    (folder / "notes.txt").write_text("mine")
    soundfile.write(folder / "has space.wav", np.zeros(8), RATE)
    soundfile.write(folder / "mine.wav", np.zeros(8), RATE)
    (folder / "dir.wav").mkdir()
    (tmp_path / "pads.json").write_text("[1")
    library = Library(tmp_path)
    assert [entry.id for entry in library.list("clip")] == ["mine"]
    assert len(library.problems) == 4 and any("bad.wav is left out" in line for line in library.problems)
    assert (folder / "notes.txt").exists() and (folder / "bad.wav").exists()


def test_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LibraryError, match="choose another folder with --library"):
        Library(tmp_path / "file")


def test_pads(tmp_path: Path) -> None:
    library = Library(tmp_path)
    for number in range(1, 19):
        library.save_clip(clip(n=10), f"clip-{number:04d}")
    assert [library.fill_pad(f"clip-{number:04d}") for number in range(1, 19)] == [*range(1, 17), 0, 0]
    library.set_pad(3, "clip-0018")
    library.set_pad(4, "")
    library.delete("clip", "clip-0005")
    assert library.fill_pad("clip-0017") == 4
    want = {pad: f"clip-{pad:04d}" for pad in range(1, 17)} | {3: "clip-0018", 4: "clip-0017"}
    del want[5]
    assert library.pads == want == Library(tmp_path).pads
    for pad, name, what in ((0, "clip-0001", "pad came as 0, expected 1 to 16"), (17, "", "pad came as 17"),
                            (1, "nope", "'nope', which is not in the library; the latest are")):
        with pytest.raises(LibraryError, match=what):
            library.set_pad(pad, name)


def test_many_threads(tmp_path: Path) -> None:
    library = Library(tmp_path)
    errors: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(5):
                name = library.next_id("clip")
                library.save_clip(clip(n=50), name)
                library.fill_pad(name)
                library.list("clip")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len(library.list("clip")) == 40 and len(library.pads) == 16
    assert Library(tmp_path).list("clip") == library.list("clip")
    assert Library(tmp_path).pads == library.pads


# --- killed in the middle of a write ----------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
import numpy as np
from soundforge import Clip
from soundforge.library import Library
library = Library(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    name = library.next_id("clip")
    library.save_clip(Clip(np.full((2, 400_000), 0.5, np.float32), 8000, bpm=90.0), name)
    library.save_clip(Clip(np.full((2, 400_000), 0.25, np.float32), 8000, bpm=90.0), "same")
    library.fill_pad(name)
"""


def stop_in_the_middle(writer: subprocess.Popen[bytes], clips: Path) -> list[Path]:
    """Stops the writer at random moments until one is in the middle of a write: what it was writing then.

    A process that was seen writing may be done by the time that a signal reaches it. A stopped one stays there.
    """
    rng = random.Random(0)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        writer.send_signal(signal.SIGSTOP)
        os.waitpid(writer.pid, os.WUNTRACED)
        if parts := [part for part in clips.glob(f"{TEMPORARY_PREFIX}*") if part.stat().st_size]:
            return parts
        writer.send_signal(signal.SIGCONT)
        time.sleep(rng.uniform(0.0005, 0.02))
    raise AssertionError("the writer was never caught in the middle of a write")


@contextmanager
def writing(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that saves clips without end; killed with SIGKILL at the end of the block."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline().strip() == b"ready"
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP is POSIX")
def test_kill_in_the_middle_of_a_write(tmp_path: Path) -> None:
    """SIGKILL at a moment when a temporary file stands there: nothing under a final name may ever be half."""
    clips = tmp_path / "clips"
    for attempt in range(3):
        with writing(tmp_path) as process:
            deadline = time.monotonic() + 20
            while len(list(clips.glob("*.wav"))) <= attempt and time.monotonic() < deadline:
                time.sleep(0.002)
            parts = stop_in_the_middle(process, clips)
        assert all(part.exists() for part in parts)
        library = Library(tmp_path)
        assert library.problems == []
        assert not list(tmp_path.rglob(f"{TEMPORARY_PREFIX}*")), "leftovers are removed"
        assert len(library.list("clip")) > attempt
        for entry in library.list("clip"):
            samples = library.load_clip(entry.id).waveform
            assert samples.shape == (2, 400_000) and len(np.unique(samples)) == 1
        assert library.used_bytes == sum(p.stat().st_size for p in clips.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP is POSIX")
def test_a_living_writer_keeps_its_file(tmp_path: Path) -> None:
    with writing(tmp_path) as process:
        parts = stop_in_the_middle(process, tmp_path / "clips")
        assert remove_leftovers(tmp_path / "clips") == [] and parts[0].exists()
    assert remove_leftovers(tmp_path / "clips") == parts
