"""Building the kernels, what happens where they cannot be built, and that every instruction set gives the same."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from ctypes import byref, c_void_p
from pathlib import Path

import pytest
import torch
from torch import nn

from soundforge.nn.kernels import build as building
from soundforge.nn.kernels.build import KernelsUnavailable, build, load_kernels
from soundforge.nn.quantised import QuantisedLinear

has_compiler = pytest.mark.skipif(load_kernels() is None, reason="no C compiler here")
X86 = platform.machine().lower() in ("x86_64", "amd64")
TARGETS = [("-march=x86-64",), ("-march=haswell",)] if X86 else [()]


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernels")


@has_compiler
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_each_instruction_set_multiplies_alike(target: tuple[str, ...], builds: Path) -> None:
    library = ctypes.CDLL(str(build(builds, target)))
    native = load_kernels()
    assert native is not None
    torch.manual_seed(0)
    for bits, n_in, n_out in ((8, 128, 48), (4, 96, 33), (4, 50, 20)):
        layer = QuantisedLinear.of(nn.Linear(n_in, n_out).requires_grad_(False), bits, 32 if bits == 4 else None)
        for rows in (1, 3, 9):
            x, made = torch.randn(rows, n_in) * torch.tensor([10.0] + [0.1] * (n_in - 1)), []
            for lib in (library, native.library):
                out = torch.empty(rows, n_out)
                assert lib.soundforge_product(byref(layer.matrix()), c_void_p(x.data_ptr()), c_void_p(out.data_ptr()),
                                              rows, 1) == 0
                made.append(out)
            torch.testing.assert_close(made[0], made[1], atol=1e-5, rtol=1e-5)


@has_compiler
def test_a_second_build_finds_the_first(builds: Path) -> None:
    first = build(builds, TARGETS[0])
    written = first.stat().st_mtime_ns
    assert build(builds, TARGETS[0]) == first and first.stat().st_mtime_ns == written
    assert all(path.suffix == first.suffix for path in builds.iterdir()), "nothing half done is left"


def test_without_a_compiler_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "COMPILERS", ("no-such-compiler",))
    monkeypatch.setenv("CC", "")
    with pytest.raises(KernelsUnavailable, match=r"no C compiler was found .*install gcc"):
        build(tmp_path)
    monkeypatch.setenv(building.SWITCH, "off")
    with pytest.raises(KernelsUnavailable, match="switched off by SOUNDFORGE_KERNELS"):
        build(tmp_path)


@pytest.mark.skipif(shutil.which("false") is None, reason="needs a command that fails")
def test_a_compiler_that_fails_is_reported_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")
    with pytest.raises(KernelsUnavailable, match="false could not compile them"):
        build(tmp_path)
    assert not list(tmp_path.iterdir())


@has_compiler
def test_a_damaged_library_is_refused_with_what_to_do(tmp_path: Path) -> None:
    broken = tmp_path / "step.so"
    broken.write_bytes(b"nothing")
    with pytest.raises(KernelsUnavailable, match="delete it and try again"):
        building._open(broken)


def test_without_kernels_torch_serves_the_same_weights(tmp_path: Path) -> None:
    """In a process of its own: what is loaded stays loaded."""
    script = """
import torch
from soundforge.nn.kernels.build import load_kernels, why_not
from soundforge.nn.language_model import LanguageModel, LanguageModelConfig
from soundforge.nn.quantised_model import quantise_language_model
assert load_kernels() is None and "switched off" in why_not()
for quantize, most in (("int8", 0.05), ("int4", 0.2)):
    torch.manual_seed(0)
    lm = LanguageModel(LanguageModelConfig(128, 4, 2, 4, 64, cross_attention=True)).eval().requires_grad_(False)
    codes = torch.randint(0, 64, (2, 4, 30))
    with torch.inference_mode():
        wanted = lm(codes)
        quantise_language_model(lm, quantize).prepare_for_steps()
        assert lm.compiled is None
        state = lm.new_state(2, 30)
        assert not state.narrow
        made = [lm.step(codes[:, :, :20], state)] + [lm.step(codes[:, :, s:s + 1], state) for s in range(20, 30)]
        error = float((torch.stack(made, 2) - wanted[:, :, 19:]).norm() / wanted[:, :, 19:].norm())
        assert error < most, (quantize, error)
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False,
                          env={**os.environ, building.SWITCH: "off"})
    assert done.stdout.strip() == "fine", done.stderr
