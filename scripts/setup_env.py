"""Make `.venv` with SoundForge in it, and the system packages beside it where that is allowed.

    python scripts/setup_env.py             what `make demo` needs
    python scripts/setup_env.py --tests     what `make test` needs too

Only the standard library is used: this runs before anything is installed. A second run does nothing (and needs no
network) until pyproject.toml or constraints.txt change. On Linux, missing system packages are installed with
apt-get when this is root or sudo asks for no password; otherwise the exact line is printed and the work goes on.
"""

from __future__ import annotations

import argparse
import ctypes.util
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENV = ROOT / ".venv"
STAMP = ENV / "soundforge.stamp"
OLDEST, NEWEST = (3, 11), (3, 13)

# Debian package -> how to see that it is there without asking the package manager.
RUN_PACKAGES = {"libportaudio2": "lib:portaudio"}
TEST_PACKAGES = {"jackd2": "jackd", "liblo-tools": "oscsend", "puredata-core": "puredata", "csound": "csound",
                 "libimage-exiftool-perl": "exiftool", "sox": "sox"}


def say(text: str) -> None:
    print(f"soundforge set-up: {text}", flush=True)


def env_python() -> Path:
    return ENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def present(probe: str) -> bool:
    """Whether a command, or with `lib:` a shared library, is there."""
    if probe.startswith("lib:"):
        return ctypes.util.find_library(probe.removeprefix("lib:")) is not None
    return shutil.which(probe) is not None


def may_install(sudo: list[str]) -> bool:
    """Root may; others when sudo asks for no password."""
    return not sudo or (shutil.which("sudo") is not None
                        and subprocess.run([*sudo, "true"], capture_output=True, check=False).returncode == 0)


def system_packages(wanted: dict[str, str]) -> None:
    """Install what is missing on a Debian-like system; elsewhere the wheels bring PortAudio along."""
    missing = [package for package, probe in wanted.items() if not present(probe)]
    if not missing or not sys.platform.startswith("linux"):
        return
    line = f"apt-get install -y --no-install-recommends {' '.join(missing)}"
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or not may_install(sudo):
        say(f"missing system packages; install them with:  sudo {line}")
        return
    say(f"installing {' '.join(missing)} with apt-get")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([*sudo, "apt-get", "update", "-q"], env=quiet, check=False, stdout=subprocess.DEVNULL)
    done = subprocess.run([*sudo, *line.split()], env=quiet, check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        say(f"apt-get did not succeed; install by hand with:  sudo {line}")


def choose_python() -> str:
    """This interpreter when it fits, else one that does from the PATH."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return sys.executable
    for minor in (12, 11, 13):
        if found := shutil.which(f"python3.{minor}"):
            return found
    raise SystemExit(f"soundforge set-up: Python {sys.version.split()[0]} came, expected 3.11 to 3.13; "
                     "install one and run again, or name it: make PYTHON=python3.12 ...")


def make_env() -> None:
    """Create the virtual environment unless a working one is there."""
    if env_python().exists() and subprocess.run([str(env_python()), "-c", "import pip"], check=False).returncode == 0:
        return
    python = choose_python()
    say(f"creating {ENV.name} with {python}")
    made = subprocess.run([python, "-m", "venv", "--clear", str(ENV)], check=False)
    if made.returncode and sys.platform.startswith("linux"):
        # Debian keeps venv in a package of its own.
        system_packages({"python3-venv": "python3-venv-is-not-a-command"})
        made = subprocess.run([python, "-m", "venv", "--clear", str(ENV)], check=False)
    if made.returncode:
        raise SystemExit("soundforge set-up: cannot create .venv; install Python's venv module "
                         "(Debian: sudo apt-get install -y python3-venv) and run again")


def fingerprint() -> str:
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def install() -> None:
    """`pip install -e .[dev]` under the constraints, once per state of pyproject.toml and constraints.txt."""
    if STAMP.exists() and STAMP.read_text(encoding="utf-8").strip() == fingerprint() and env_python().exists():
        return
    make_env()
    say("installing SoundForge and what it needs (torch is large; this takes minutes the first time)")
    pip = [str(env_python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "-c", "constraints.txt", "-e", ".[dev]"], cwd=ROOT, check=False)
    if done.returncode:
        raise SystemExit("soundforge set-up: pip did not succeed (see above); without a network, install the packages "
                         "of constraints.txt from wheels first: PIP_FIND_LINKS=FOLDER make ...")
    STAMP.write_text(fingerprint() + "\n", encoding="utf-8")
    say(f"ready: {ENV.name}")


def build_kernels() -> None:
    """The compiled kernels, once per machine and state of their source; without a compiler it says what that means."""
    script = ("from soundforge.nn.kernels.build import load_kernels, why_not\n"
              "print('' if load_kernels() else why_not())")
    done = subprocess.run([str(env_python()), "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    trouble = done.stdout.strip() or done.stderr.strip()[-300:]
    if trouble:
        say(f"models will step through torch, slower, because {trouble}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make .venv with SoundForge in it.")
    parser.add_argument("--tests", action="store_true", help="what the test suite needs, too")
    wanted = dict(RUN_PACKAGES)
    if parser.parse_args().tests:
        wanted |= TEST_PACKAGES
    system_packages(wanted)
    install()
    build_kernels()


if __name__ == "__main__":
    main()
