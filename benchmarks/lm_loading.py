"""Opening a quantised model of MusicGen-small's size: seconds, and memory beside the size of its file.

    python benchmarks/lm_loading.py [--quantize int4] [--keep FOLDER]

Writes the native form with random weights (language model, and EnCodec 32 kHz in float32; no text encoder), then opens
it from warm cache in a process of its own, steps once through all weights, and reads what memory came on top. Linux.
Last line: JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from codec import reference
from common import arguments, parse, print_result
from sizes import language_model, musicgen_config

from soundforge.checkpoints.codecs import codec_from_transformers
from soundforge.checkpoints.native_save import save_native
from soundforge.interfaces import LanguageModelParts

ROUNDS = 5


def write(folder: Path, quantize: str) -> None:
    """The checkpoint."""
    theirs = reference("encodec_32khz")
    codec = codec_from_transformers(theirs.config.to_dict(), dict(theirs.state_dict()), "encodec_32khz")
    lm = language_model(musicgen_config(), quantize)
    save_native(LanguageModelParts("random-small", lm, codec, [], (0, 1, 2, 3), 30.0, 18.0), folder,
                quantization=quantize)


def memory() -> dict[str, int]:
    """Bytes of this process that are in memory: of its own, and of mapped files."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Rss")}
    return {"own": found["RssAnon"], "mapped": found["RssFile"]}


@torch.inference_mode()
def open_and_step(folder: Path) -> dict[str, float]:
    """In the process of its own: seconds to open, and bytes on top of what a loaded starter takes."""
    import soundforge as sf

    with sf.load("starter") as engine:
        engine.generate("x", seconds=0.1, seed=0)
    before = memory()
    began = time.perf_counter()
    engine = sf.load(folder)
    seconds = time.perf_counter() - began
    lm = engine.model.decoder.lm  # type: ignore[union-attr]
    state = lm.new_state(2, 16)
    for _ in range(8):
        lm.step(torch.zeros(2, 4, 1, dtype=torch.long), state)
    lm.layers[0].cross_attn.keys_values(torch.zeros(2, 4, 1024))
    after = memory()
    return {"seconds": seconds, **{name: after[name] - before[name] for name in before}}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--quantize", default="int4", choices=["int4", "int8"])
    parser.add_argument("--keep", type=Path, help="write it there and leave it")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    options = parse(parser)
    if options.open:
        print(json.dumps(open_and_step(options.open)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary) / "small"
        write(folder, options.quantize)
        runs = [json.loads(subprocess.run([sys.executable, __file__, "--open", str(folder)], check=True,
                                          capture_output=True, text=True).stdout) for _ in range(ROUNDS)]
        sizes = {"language_model_bytes": (folder / "model.safetensors").stat().st_size,
                 "codec_bytes": sum(file.stat().st_size for file in (folder / "codec").iterdir())}
    held = median(run["own"] + run["mapped"] for run in runs)
    print_result("lm_loading", {"quantize": options.quantize, **sizes, "seconds": median(r["seconds"] for r in runs),
                                "own_bytes": median(r["own"] for r in runs),
                                "mapped_bytes": median(r["mapped"] for r in runs),
                                "memory_over_size": held / sum(sizes.values())})


if __name__ == "__main__":
    main()
