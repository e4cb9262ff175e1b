"""The robust z-score: how unusual a number is beside those before it, which a few wild ones do not spoil.

z = 0.6745 (x - median) / MAD, where MAD is the median of the absolute deviations from the median, and 0.6745 makes it
the z-score of normally distributed numbers (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993, who call
|z| > 3.5 an outlier).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEAST_SHARE = 0.01
"""Numbers that hardly differ make any other one look wild: the spread is taken for at least this share of the median,
and at least 1 row."""

LEAST_HISTORY = 7
"""Fewer numbers say nothing of what is usual."""


def robust_z(value: float, history: Sequence[float]) -> float | None:
    """The robust z-score of `value`; None if the history is too short to say.

    Args:
        value: to be judged.
        history: what was before.
    """
    if len(history) < LEAST_HISTORY:
        return None
    numbers = np.asarray(history, np.float64)
    median = float(np.median(numbers))
    spread = float(np.median(np.abs(numbers - median)))
    least = max(1.0, LEAST_SHARE * abs(median))
    return 0.6745 * (value - median) / max(spread, 0.6745 * least)
