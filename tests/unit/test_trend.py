"""Foretelling that memory will run out, and not crying wolf."""

from __future__ import annotations

from memtop.model.trend import Seen, Trend, growth, larger_input, steps_left

FREE = 1000


def steps(*held: int, inputs: int = 10, every: int = 10, free: int = FREE) -> list[Seen]:
    return [Seen(step=every * n, held=one, inputs=inputs, free=free) for n, one in enumerate(held)]


def test_a_steady_growth_says_when_it_will_be_full() -> None:
    seen = steps(*range(100, 200, 10))
    assert growth(seen) == 1.0
    assert steps_left(seen) == FREE
    assert steps_left(steps(*range(100, 200, 10), free=10**6)) is None, "further than can be told"


def test_warm_up_level_and_noise_are_no_growth() -> None:
    assert growth(steps(*[100, 150, 175, 187, 193, 196, 198, 199, 200, 200])) is None
    assert growth(steps(*[100] * 10)) is None
    assert growth(steps(*[100, 130, 90, 140, 100, 120, 150, 95, 130, 110])) is None
    assert growth(steps(*range(100, 170, 10))) is None, "too few"


def test_longer_inputs_are_no_growth() -> None:
    seen = [Seen(step=n, held=100 + 10 * n, inputs=10 + n, free=FREE) for n in range(12)]
    assert growth(seen) is None


def test_a_longer_input_than_fits_now_is_told() -> None:
    seen = [Seen(step=n, held=100 + 20 * size, inputs=size, free=500) for n, size in enumerate([10, 30, 20, 10])]
    assert larger_input(seen, 30) is None
    assert larger_input(seen, 40) == 20 * 30 - 500
    assert larger_input(steps(100, 100, 100), 40) is None, "no second size to learn from"


def test_a_warning_is_news_once_and_goes_when_it_has_been_calm() -> None:
    trend = Trend()
    news = [trend.add(one, "8x128") for one in steps(*range(100, 300, 10))]
    assert [one is not None for one in news].count(True) == 1
    assert trend.warning is not None
    assert trend.warning.steps is not None
    calm = [trend.add(Seen(step=1000 + n, held=100, inputs=10, free=FREE), "8x128") for n in range(3)]
    assert calm == [None] * 3
    assert trend.warning is None


def long(step: int, length: int, free: int = FREE) -> Seen:
    return Seen(step=step, held=100 + length, inputs=length, free=free, length=length)


def test_a_forecast_of_the_length_says_whether_the_longest_will_fit_again() -> None:
    trend = Trend()
    assert trend.add(long(1, 512), "8×512", lambda length: 5_000_000 * (length == 512)) is not None
    assert trend.warning is not None
    assert trend.warning.text == "one more sequence of length 512 will not fit: ~4.77 MiB would be missing"
    fitting = Trend()
    for step, length in enumerate((16, 512, 24, 32, 16)):
        assert fitting.add(long(step, length, free=1), f"8×{length}", lambda length: -1) is None
    learnt = Trend()
    told = [
        learnt.add(long(step, length, free=1), f"8×{length}", lambda length: None)
        for step, length in enumerate((16, 512, 24, 128, 16))
    ]
    assert any(one is not None and "input like the largest so far, 8×512" in one.text for one in told)


def test_leaks_that_are_certain_foretell_when_memory_is_full_though_no_category_grows() -> None:
    trend = Trend()
    told = trend.add(Seen(step=130, held=100, inputs=10, free=FREE), "8×128", leaking=3)
    assert told is not None
    assert (told.steps, told.text) == (333, "this will not fit in about 333 steps: 3 B more with every step")
    assert trend.add(Seen(step=140, held=100, inputs=10, free=FREE - 30), "8×128", leaking=3) is None, "no news"
    far = Trend()
    assert far.add(Seen(step=130, held=100, inputs=10, free=10**6), "8×128", leaking=3) is None
    assert far.add(Seen(step=140, held=100, inputs=10, free=10**6), "8×128") is None


def test_the_largest_images_are_named_by_their_sides() -> None:
    def seen(step: int, side: int) -> Seen:
        size = 12 * side * side
        return Seen(step=step, held=size, inputs=size, free=10**9, length=side * side, image=(side, side))

    def missing(pixels: int) -> int:
        return 5_000_000 if pixels >= 96 * 96 else -1

    trend = Trend()
    assert trend.add(seen(1, 64), "8×3×64×64", missing) is None
    warning = trend.add(seen(2, 96), "8×3×96×96", missing)
    assert warning is not None
    assert warning.text == "one more batch of images of 96 × 96 will not fit: ~4.77 MiB would be missing"
    assert "make them smaller" in warning.remedy
