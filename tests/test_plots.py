import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from jaxgan.plots import plot_losses

CURVES = {
    "generator_loss": "tab:blue",
    "discriminator_loss": "tab:orange",
    "d_real": "tab:green",
    "d_fake": "tab:red",
    "d_accuracy": "tab:grey",
}


def rows(**values):
    """Two epochs, each curve level unless it is given both of its values."""
    given = dict.fromkeys(CURVES, 0.5) | values
    pairs = {name: np.broadcast_to(value, 2) for name, value in given.items()}
    return [
        {"epoch": epoch} | {name: float(pair[epoch - 1]) for name, pair in pairs.items()}
        for epoch in (1, 2)
    ]


def pixels_of(path, name):
    """Rows and columns of the pixels that have a curve's very colour."""
    with Image.open(path) as picture:
        canvas = np.asarray(picture.convert("RGB")).astype(int)
    colour = np.rint(np.array(to_rgb(CURVES[name])) * 255)
    return np.nonzero(np.abs(canvas - colour).max(axis=-1) <= 8)


def height(path, name):
    return np.median(pixels_of(path, name)[0])


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("generator_loss", "discriminator_loss"),
        ("discriminator_loss", "generator_loss"),
        ("d_fake", "d_real"),
        ("d_real", "d_fake"),
        ("d_accuracy", "d_fake"),
        ("d_fake", "d_accuracy"),
    ],
)
def test_each_curve_is_drawn_at_its_own_height(tmp_path, low, high):
    path = tmp_path / "losses.png"
    plot_losses(path, rows(**{low: 0.2, high: 0.6}))
    # Rows of pixels are counted from the top.
    assert height(path, high) + 30 < height(path, low)


def test_a_curve_follows_the_epochs(tmp_path):
    path = tmp_path / "losses.png"
    plot_losses(path, rows(d_real=[0.1, 0.6]))
    down, right = pixels_of(path, "d_real")
    # The legend, at the right, is not part of the curve.
    curve = right < 600
    assert curve.sum() > 500
    assert np.corrcoef(down[curve], right[curve])[0, 1] < -0.99


def test_the_curves_of_one_epoch_can_be_seen(tmp_path):
    seen = []
    for value in (0.2, 0.6):
        path = tmp_path / f"{value}.png"
        plot_losses(path, rows(d_real=value)[:1])
        with Image.open(path) as picture:
            seen.append(np.asarray(picture.convert("RGB")))
    assert np.any(seen[0] != seen[1])


def test_it_is_a_png_and_replaces_the_one_before(tmp_path):
    path = tmp_path / "losses.png"
    path.write_text("before")
    plot_losses(path, rows())
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.size == (960, 720)
    assert [file.name for file in tmp_path.iterdir()] == ["losses.png"]


def test_rows_that_lack_a_curve_leave_the_picture_before(tmp_path):
    path = tmp_path / "losses.png"
    path.write_text("before")
    with pytest.raises(KeyError):
        plot_losses(path, [{"epoch": 1, "generator_loss": 0.5}])
    assert path.read_text() == "before"
