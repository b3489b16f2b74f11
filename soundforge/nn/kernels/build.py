"""Finding, building and loading the compiled kernels.

They are compiled for the very processor they run on, when they are first asked for (some three seconds), and kept in
the user's cache folder under a name made of the source, the compiler and the processor; so a changed source or another
machine with the same home folder gets its own file. `SOUNDFORGE_KERNELS=off` keeps to torch.

Threading: `load_kernels` may be called from any thread; processes that build at once do not disturb each other.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

SWITCH = "SOUNDFORGE_KERNELS"
INTERFACE = 2
SOURCES = ("simd.h", "matrix.h", "attention.h", "pool.h", "convolution.h", "layers.h", "step.c")
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O3", "-std=c11", "-ffp-contract=fast", "-fno-math-errno", "-Wno-psabi", "-fvisibility=hidden", "-shared",
         "-fPIC", "-pthread")
LONGEST_BUILD_SECONDS = 120.0
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Kernels:
    """Args:
    library: the loaded library.
    isa: instructions the integer products use: "avx512-vnni", "avx-vnni", "avx2", "neon-dotprod" or "portable".
    path: the file.
    """

    library: ctypes.CDLL
    isa: str
    path: Path


class KernelsUnavailable(Exception):
    """Why there are none, in one line, and what to do."""


_lock = threading.Lock()
_outcome: Kernels | KernelsUnavailable | None = None


def load_kernels() -> Kernels | None:
    """The kernels, built now if need be; None where there can be none (`why_not` has the reason)."""
    found = _find()
    return found if isinstance(found, Kernels) else None


def why_not() -> str:
    """Why `load_kernels` gives None, in one line; "" when it does not."""
    found = _find()
    return str(found) if isinstance(found, KernelsUnavailable) else ""


def _find() -> Kernels | KernelsUnavailable:
    global _outcome
    with _lock:
        if _outcome is None:
            try:
                _outcome = _open(build())
            except KernelsUnavailable as reason:
                _outcome = reason
        return _outcome


def build(folder: Path | None = None, extra_flags: tuple[str, ...] | None = None) -> Path:
    """The library's file, compiled unless it is there.

    Args:
        folder: where to keep it; None = the user's cache.
        extra_flags: which processor to compile for; None = this one.

    Raises:
        KernelsUnavailable: no compiler, an unfit system, a folder that cannot be written, or a failed build.
    """
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "no", "false"):
        raise KernelsUnavailable(f"switched off by {SWITCH}")
    if sys.byteorder != "little" or sys.maxsize < 2**32:
        raise KernelsUnavailable(f"{platform.machine()} is no 64-bit little-endian processor")
    compiler = _compiler()
    if extra_flags is None:
        extra_flags = ("-march=native",) if platform.machine().lower() in ("x86_64", "amd64", "i686") else (
            "-mcpu=native",)
    digest = hashlib.sha256("\n".join([*compiler, *FLAGS, *extra_flags, _processor()]).encode())
    for name in SOURCES:
        digest.update((_FOLDER / name).read_bytes())
    folder = user_cache_path("soundforge", appauthor=False) / "kernels" if folder is None else folder
    target = folder / f"step-{digest.hexdigest()[:20]}{'.dll' if os.name == 'nt' else '.so'}"
    if target.is_file():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as place:
            made = Path(place) / target.name
            _compile(compiler, extra_flags, made)
            made.replace(target)
    except OSError as error:
        raise KernelsUnavailable(f"{folder} cannot be written ({error.strerror or error}); "
                                 "give the user a cache folder") from error
    return target


def _compiler() -> list[str]:
    for name in (os.environ.get("CC", ""), *COMPILERS):
        words = shlex.split(name)
        if words and shutil.which(words[0]):
            return words
    raise KernelsUnavailable("no C compiler was found (cc, gcc, clang); install gcc or clang "
                             "(Debian: sudo apt-get install -y gcc libc6-dev; macOS: xcode-select --install)")


def _compile(compiler: list[str], extra_flags: tuple[str, ...], target: Path) -> None:
    """First for this processor; a compiler that does not know how, builds for any of its kind."""
    said = ""
    for chosen in (extra_flags, ()):
        command = [*compiler, *FLAGS, *chosen, str(_FOLDER / "step.c"), "-o", str(target)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                                  timeout=LONGEST_BUILD_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KernelsUnavailable(f"{compiler[0]} could not be run ({error})") from error
        if done.returncode == 0:
            return
        said = said or next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
    raise KernelsUnavailable(f"{compiler[0]} could not compile them ({' '.join(said.split())[:200]})")


def _processor() -> str:
    """What tells processors apart that need different code."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    features = [line for line in lines if line.startswith(("flags", "Features", "model name"))]
    return "\n".join([platform.machine(), platform.processor(), *sorted(set(features))])


def _open(path: Path) -> Kernels:
    try:
        library = ctypes.CDLL(str(path))
        version = library.soundforge_interface()
    except (OSError, AttributeError) as error:
        raise KernelsUnavailable(f"{path} cannot be loaded ({error}); delete it and try again") from error
    if version != INTERFACE:
        raise KernelsUnavailable(f"{path} has interface {version}, expected {INTERFACE}; delete it and try again")
    library.soundforge_isa.restype = ctypes.c_char_p
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=library.soundforge_forked)
    return Kernels(library, library.soundforge_isa().decode(), path)
