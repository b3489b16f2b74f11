"""The parts of SoundForge as Protocols and light descriptors. Shapes are stated here, once.

A plugin registers **descriptors**: a name, what the part feeds or makes, and a factory. The factory is called
in the engine process when the part is needed; it imports torch and the like and receives a `Host`, through
which it asks for other parts by name. Importing a plugin's module must not import torch.

Shapes: waveform `[B, C, T_samples]` float32 · codes `[B, K, T_frames]` int64 · features `[B, L, W]` float32 with
mask `[B, L]` bool (True = real). Units stand in the names (`_hz`, `_seconds`, `_frames`).
"""

from __future__ import annotations

from soundforge.interfaces.codecs import (
    Codec,
    CodecDescriptor,
    CodecStream,
    EncodedAudio,
)
from soundforge.interfaces.conditions import (
    BringsProjection,
    Condition,
    ConditionContext,
    Conditioner,
    ConditionerDescriptor,
    ConditionerSetup,
    FuseMethod,
    Projection,
    Slot,
    describe_slot,
)
from soundforge.interfaces.decoders import (
    ClipProcessorDescriptor,
    Decoder,
    DecoderDescriptor,
    DecoderSetup,
)
from soundforge.interfaces.host import (
    Bridge,
    BridgeDescriptor,
    Host,
)
from soundforge.interfaces.models import (
    GeneratedChunk,
    GenerativeModel,
    LanguageModelParts,
    LoadOptions,
    ModelFamilyDescriptor,
    RestLimits,
    SlotWeights,
)

CONTRACT_VERSION = 1
"""Version of the plugin contract. A plugin module may set `SOUNDFORGE_CONTRACT = 1`; another major is refused."""

__all__ = [
    "CONTRACT_VERSION",
    "Bridge",
    "BridgeDescriptor",
    "BringsProjection",
    "ClipProcessorDescriptor",
    "Codec",
    "CodecDescriptor",
    "CodecStream",
    "Condition",
    "ConditionContext",
    "Conditioner",
    "ConditionerDescriptor",
    "ConditionerSetup",
    "Decoder",
    "DecoderDescriptor",
    "DecoderSetup",
    "EncodedAudio",
    "FuseMethod",
    "GeneratedChunk",
    "GenerativeModel",
    "Host",
    "LanguageModelParts",
    "LoadOptions",
    "ModelFamilyDescriptor",
    "Projection",
    "RestLimits",
    "Slot",
    "SlotWeights",
    "describe_slot",
]
