"""What a notebook shows; tests/experiments/test_colab_tpu.py looks at a real one."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from jaxgan.run import notebook

GRID = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)


@pytest.fixture
def shown(monkeypatch):
    """The pictures that a pretended notebook shows, as ("display" or "update", picture)."""
    pictures = []
    handle = SimpleNamespace(update=lambda picture: pictures.append(("update", picture)))

    def display(picture, display_id):
        assert display_id is True
        pictures.append(("display", picture))
        return handle

    module = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=None))
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    return pictures


def test_the_newest_grid_takes_the_place_of_the_one_before(shown):
    assert notebook.is_there()
    logger = notebook.Picture(2)
    logger(1, {"epoch": 0.5, "loss": 1.0})
    logger(2, {"epoch": 1.0, "samples": GRID})
    logger(4, {"epoch": 2.0, "samples": GRID.repeat(3, axis=-1)})
    (first, grey), (then, coloured) = shown
    assert (first, then) == ("display", "update")
    expected = GRID[..., 0].repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(np.asarray(grey), expected)
    np.testing.assert_array_equal(np.asarray(coloured), np.stack([expected] * 3, axis=-1))


def test_a_program_is_no_notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert not notebook.is_there()
    terminal = SimpleNamespace(get_ipython=lambda: SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert not notebook.is_there()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not notebook.is_there()
