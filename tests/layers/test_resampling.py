"""Pixels of blocks as channels, and back."""

import numpy as np
import pytest

from jaxgan.layers.resampling import depth_to_space, space_to_depth


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_channels_of_a_pixel_are_those_of_its_block_row_by_row(size):
    x = np.arange(2 * 6 * 12 * 2).reshape(2, 6, 12, 2)
    y = space_to_depth(x, size)
    assert y.shape == (2, 6 // size, 12 // size, 2 * size * size)
    block = x[1, size : 2 * size, 2 * size : 3 * size]
    np.testing.assert_array_equal(y[1, 1, 2], block.ravel())
    np.testing.assert_array_equal(depth_to_space(y, size), x)
