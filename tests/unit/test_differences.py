"""A test a reason: it is given where the figures bear it out, and not where they do not."""

from __future__ import annotations

from memtop.model.differences import EARLY, NONE_YET, SCRATCH, Case, reason


def told(category: str, moment: str, value: int, theory: int | None = None, **known: object) -> str | None:
    return reason(Case(category=category, moment=moment, value=value, theory=theory, **known))  # type: ignore[arg-type]


def test_what_the_closed_form_says_is_equal() -> None:
    assert told("parameters", "step_end", 456_744, 456_744) == "="
    assert told("gradients", "peak", 0, 0, phase="backward") == "="


def test_gradients_at_a_peak_in_backward_are_not_whole_yet() -> None:
    assert told("gradients", "peak", 81_960, 456_744, phase="backward") == EARLY
    assert told("gradients", "peak", 81_960, 456_744, phase="recompute") == EARLY
    assert told("gradients", "peak", 0, 456_744, phase="forward") == NONE_YET
    assert told("gradients", "peak", 81_960, 456_744, phase="optimizer") is None, "frozen, unused: not known"
    assert told("gradients", "backward_end", 81_960, 456_744) is None
    assert told("gradients", "peak", 500_000, 456_744, phase="backward") is None


def test_optimizer_state_has_a_step_for_each_tensor() -> None:
    assert told("optimizer_state", "step_end", 913_544, 913_488, tensors=14) == "a 4-byte step for each of 14 tensors"
    assert told("optimizer_state", "step_end", 913_548, 913_488, tensors=14) is None, "more than there are tensors"
    assert told("optimizer_state", "step_end", 913_545, 913_488, tensors=99) is None
    assert told("optimizer_state", "step_end", 913_544, 913_488) is None
    assert told("optimizer_state", "peak", 0, 913_488) == "made by the first step()"


def test_temporaries_are_what_the_peaks_phase_makes() -> None:
    assert told("temporaries", "peak", 4_724_264, phase="optimizer") == "what the optimizer's step needs for a moment"
    assert told("temporaries", "peak", 2_621_440, phase="backward") == "gradients of activations"
    assert told("temporaries", "peak", 2_621_440, phase="forward") == SCRATCH["forward"]
    assert told("temporaries", "peak", 0, phase="backward") is None
    assert told("temporaries", "peak", 5) is None
    assert told("temporaries", "step_end", 5, phase="backward") is None


def test_the_live_loss_is_four_bytes() -> None:
    assert told("activations", "forward_end", 40_374_536, 40_374_532) == "the loss is still there"
    assert told("activations", "forward_end", 40_374_540, 40_374_532) is None
    assert told("activations", "step_end", 4, 40_374_532) == "the loss is still there"
    assert "the loss is still there" in str(told("activations", "peak", 4, 35_332, phase="optimizer"))
    assert told("activations", "peak", 8, 35_332, phase="optimizer") is None


def test_under_a_checkpoint_activations_are_made_again() -> None:
    words = told("activations", "peak", 641_288, 3_848, phase="recompute", recomputed=1_276_000)
    assert words == "recomputed in backward: 1.22 MiB"


def test_backward_uses_activations_up() -> None:
    words = told("activations", "peak", 40_371_976, 40_374_532, phase="backward", kept=40_374_536)
    assert words == "backward has used up 2.50 KiB"
    assert told("activations", "peak", 40_400_000, 40_374_532, phase="backward", kept=40_374_536) is None
    assert told("activations", "peak", 100, 200, phase="forward") == "forward has 100 B to go"


def test_rounding_is_the_allocators_blocks() -> None:
    assert told("rounding", "peak", 48_392) == "the allocator rounds blocks up to 512 B"
    assert told("rounding", "peak", 0) is None


def test_of_others_nothing_is_known() -> None:
    assert told("inputs", "peak", 5, 6, phase="backward") is None
