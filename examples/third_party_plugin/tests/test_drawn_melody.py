import pytest
import torch
from soundforge_drawn_melody.conditioner import DrawnMelody

from soundforge import ConditionError
from soundforge.interfaces import Slot
from soundforge.testing import DEFAULT_CONTEXT, check_conditioner, plugin_checks

SLOT = Slot("chroma", "drawn_melody", 12, "sum", frame_rate_hz=50.0)


# Loading, and the whole contract with the descriptor's examples.
test_contract = plugin_checks("soundforge_drawn_melody")


def test_pairs_are_taken_as_well():
    check_conditioner(DrawnMelody(SLOT), [(0, 60), (2, 72)], other=[(0, 61), (1, 64.5)], slot=SLOT)


def test_the_curve_is_followed():
    conditioner = DrawnMelody(SLOT)
    condition = conditioner.encode([conditioner.prepare("0:60 1:62", DEFAULT_CONTEXT)], DEFAULT_CONTEXT)
    assert condition.values[0, 0].argmax() == 0
    assert condition.values[0, 25].argmax() == 1
    assert condition.values[0, 99].argmax() == 2
    torch.testing.assert_close(condition.values.sum(-1), torch.ones(1, 100))


@pytest.mark.parametrize("value", ["C4", "0:60 0:62", "1:60 0:62", "0:400", "0:nan", [(0,)], 5, "nan:60"])
def test_what_is_no_curve_is_refused(value):
    with pytest.raises(ConditionError, match="expected points"):
        DrawnMelody(SLOT).prepare(value, DEFAULT_CONTEXT)
