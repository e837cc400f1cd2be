import numpy as np
import pytest
from PIL import Image

from jaxgan import data
from jaxgan.systems.pix2pix.tasks import TASKS, edges, grey, masked


def noise(channels=3, size=(9, 12)):
    return np.random.default_rng(0).integers(0, 256, (4, *size, channels), dtype=np.uint8)


def test_grey_is_pillows_luminance():
    images = noise()
    given = grey(images)
    assert given.shape == (4, 9, 12, 1) and given.dtype == np.uint8
    for image, its_grey in zip(images, given, strict=True):
        expected = np.asarray(Image.fromarray(image).convert("L"), int)
        assert np.abs(its_grey[..., 0] - expected).max() <= 1
    corners = np.array([[[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]]])
    np.testing.assert_array_equal(grey(corners.astype(np.uint8))[0, 0, :, 0], [0, 255, 76, 150, 29])


def test_grey_stays_grey():
    np.testing.assert_array_equal(grey(noise(1)), noise(1))


def test_the_edges_of_a_square_are_along_its_border_and_nowhere_else():
    images = np.full((2, 20, 24, 3), 255, np.uint8)
    images[0, 6:14, 8:18] = (200, 0, 0)
    lines = edges(images)
    assert lines.shape == (2, 20, 24, 1) and lines.dtype == np.uint8
    assert set(np.unique(lines)) == {0, 255}
    # The two pixels on both sides of where the colour changes.
    expected = np.full((20, 24), 255)
    expected[5:15, 7:19] = 0
    expected[7:13, 9:17] = 255
    np.testing.assert_array_equal(lines[0, ..., 0], expected)
    assert (lines[1] == 255).all()


@pytest.mark.parametrize(("step", "is_edge"), [(10, False), (15, False), (17, True), (40, True)])
def test_a_step_is_an_edge_if_it_is_high_enough(step, is_edge):
    # Sobel's filter weighs a straight step by 4: 0.24 of 1 are 15.3 of 255.
    images = np.full((1, 8, 8, 1), 100, np.uint8)
    images[:, :, 4:] += step
    assert (edges(images) == 0).any() == is_edge


def test_an_edge_is_of_luminance_alone_and_of_any_direction():
    images = np.full((2, 9, 9, 3), (100, 100, 100), np.uint8)
    # As light as the grey beside it.
    images[0, :, 4:] = (0, 170, 4)
    assert abs(int(grey(images)[0, 0, 8, 0]) - 100) <= 1
    images[1][np.tril_indices(9)] = 0
    lines = edges(images)
    assert (lines[0] == 255).all()
    diagonal = np.arange(1, 8)
    assert (lines[1, diagonal, diagonal] == 0).all() and (lines[1, 7, 0] == 255).all()


def test_edges_of_faces_are_lines():
    images = data.load("toon_faces", split="test").images[:50]
    lines = edges(images)
    share = (lines == 0).mean(axis=(1, 2, 3))
    assert 0.03 < share.min() and share.max() < 0.5


@pytest.mark.parametrize("size", [(8, 8), (9, 12)])
def test_the_middle_of_an_image_is_hidden(size):
    images = noise(3, size)
    before = images.copy()
    given = masked(images)
    np.testing.assert_array_equal(images, before)
    height, width = size
    hidden = np.zeros(size, bool)
    hidden[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    assert (given[:, hidden] == 128).all()
    np.testing.assert_array_equal(given[:, ~hidden], images[:, ~hidden])
    assert given.dtype == np.uint8 and 0.2 < hidden.mean() < 0.4


def test_tasks():
    assert {name: task.channels for name, task in TASKS.items()} == {
        "edges2face": 1,
        "grey2colour": 1,
        "mask2face": 0,
    }
    for task in TASKS.values():
        assert task.inputs(noise()).shape == (4, 9, 12, task.channels or 3)
