import numpy as np

from clicks.inference.anderson import Extrapolation


def test_what_is_forgotten_no_longer_counts_also_where_it_was_infinite() -> None:
    """The end of an iteration in logits is infinite where a rate has become exactly 1."""
    memory, forgotten = Extrapolation(np.ones(2)), Extrapolation(np.ones(2))
    for rate in (0.5, 0.6, np.inf):
        forgotten.next_start(np.zeros(2), np.array([0.5, rate]))
    forgotten.forget()
    for start, end in (([0.0, 1.0], [1.0, 2.0]), ([1.0, 2.0], [1.5, 2.5])):
        expected = memory.next_start(np.array(start), np.array(end))
        assert np.array_equal(forgotten.next_start(np.array(start), np.array(end)), expected)
    assert np.isfinite(expected).all()
