"""Statistics of pictures are those that numpy finds, however few levels are kept."""

from __future__ import annotations

import numpy as np

from robot_rl.export.statistics import QUANTILES, STRIDE, Histogram, of_numbers, of_pictures


def test_a_histogram_has_the_statistics_of_all_its_pixels() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, rng.integers(1, 256, (5, 1, 1, 3)), (5, 61, 83, 3)).astype(np.uint8)
    seen, rest = Histogram(), Histogram()
    assert [picture is given for picture, given in zip(seen.counted(iter(pictures[:3])), pictures, strict=False)]
    for picture in pictures[3:]:
        rest.add(picture)
    seen.merge(rest)
    pixels = pictures[:, ::STRIDE, ::STRIDE].reshape(-1, 3)
    found, expected = of_pictures(seen), of_numbers(pixels / 255)
    assert found["count"] == [5]
    for name in ("min", "max", "mean", "std", *QUANTILES):
        assert np.shape(found[name]) == (3, 1, 1)
        np.testing.assert_allclose(np.ravel(found[name]), expected[name], atol=1e-12, err_msg=name)
