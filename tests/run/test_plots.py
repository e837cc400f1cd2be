import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from jaxgan.run.plots import plot_evaluation, plot_losses
from jaxgan.run.system import JUDGEMENT, LOSSES, Panel

# In which panel each curve is, from the top, and of what colour.
CURVES = {
    "generator_loss": (0, "tab:blue"),
    "discriminator_loss": (0, "tab:orange"),
    "d_real": (1, "tab:blue"),
    "d_fake": (1, "tab:orange"),
    "d_accuracy": (1, "tab:grey"),
}
PANELS = [LOSSES, JUDGEMENT]


def rows(**values):
    """Two epochs, each curve level unless it is given both of its values."""
    given = dict.fromkeys(CURVES, 0.5) | values
    pairs = {name: np.broadcast_to(value, 2) for name, value in given.items()}
    return [
        {"epoch": epoch} | {name: float(pair[epoch - 1]) for name, pair in pairs.items()}
        for epoch in (1, 2)
    ]


def draw(path, rows, panels=PANELS):
    """Draws, and reads the picture back, int [height, width, 3]."""
    plot_losses(path, rows, "a title", panels)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def has_colour(canvas, colour):
    return np.abs(canvas - np.rint(np.array(to_rgb(colour)) * 255)).max(axis=-1) <= 8


def pixels_of(canvas, name):
    """Rows and columns of the pixels that have a curve's very colour, in the curve's panel."""
    panel, colour = CURVES[name]
    return np.nonzero(has_colour(np.split(canvas, len(PANELS))[panel], colour))


def height(canvas, name):
    return np.median(pixels_of(canvas, name)[0])


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
    canvas = draw(tmp_path / "losses.png", rows(**{low: 0.2, high: 0.6}))
    # Rows of pixels are counted from the top.
    assert height(canvas, high) + 30 < height(canvas, low)


def test_a_curve_follows_the_epochs(tmp_path):
    canvas = draw(tmp_path / "losses.png", rows(d_real=[0.1, 0.6]))
    down, right = pixels_of(canvas, "d_real")
    # The legend, at the right, is not part of the curve.
    curve = right < 600
    assert curve.sum() > 500
    assert np.corrcoef(down[curve], right[curve])[0, 1] < -0.99


def test_the_curves_of_one_epoch_can_be_seen(tmp_path):
    seen = [draw(tmp_path / "a.png", rows(d_real=value)[:1]) for value in (0.2, 0.6)]
    assert np.any(seen[0] != seen[1])


def test_it_is_a_png_and_replaces_the_one_before(tmp_path):
    path = tmp_path / "losses.png"
    path.write_text("before")
    plot_losses(path, rows(), panels=PANELS)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.size == (960, 720)
    assert [file.name for file in tmp_path.iterdir()] == ["losses.png"]


def test_what_is_no_row_leaves_the_picture_before(tmp_path):
    path = tmp_path / "losses.png"
    path.write_text("before")
    with pytest.raises(KeyError):
        plot_losses(path, [{"step": 1, "generator_loss": 0.5}], panels=PANELS)
    assert path.read_text() == "before"


def test_a_panel_of_which_nothing_was_measured_is_left_out(tmp_path):
    measured = [{"epoch": epoch, "generator_loss": 0.5} for epoch in (1, 2)]
    canvas = draw(tmp_path / "a.png", measured)
    assert canvas.shape == (360, 960, 3)
    assert has_colour(canvas, "tab:blue").sum() > 500
    assert not has_colour(canvas, "tab:orange").any()


def test_a_curve_of_what_is_measured_now_and_then(tmp_path):
    """Epochs without the metric leave no hole, and do not count as 0."""
    measured = [{"epoch": epoch, "loss": 1.0} for epoch in range(9)]
    for row in measured[::4]:
        row["fid"] = 5.0
    canvas = draw(tmp_path / "a.png", measured, [Panel("FID", {"fid": "FID"})])
    down, right = np.nonzero(has_colour(canvas, "tab:blue"))
    line = down == np.bincount(down).argmax()
    assert np.ptp(right[line]) > 700 and line.sum() > 700


@pytest.mark.parametrize("panels", [(), PANELS])
def test_metrics_of_any_names_have_a_panel_with_curves_of_their_own(tmp_path, panels):
    """As of a system whose metrics are not those of the game."""
    levels = {"red_square": 0.2, "beauty": 0.4, "truth": 0.6, "goodness": 0.8}
    measured = [{"step": epoch, "epoch": epoch, **levels} for epoch in (1, 2)]
    canvas = draw(tmp_path / "a.png", measured, panels)
    assert canvas.shape == (360, 960, 3)
    colours = ("tab:blue", "tab:orange", "tab:grey", "tab:green")
    heights = [np.median(np.nonzero(has_colour(canvas, colour))[0]) for colour in colours]
    assert heights == sorted(heights, reverse=True) and heights[0] > heights[-1] + 100


def test_more_curves_than_colours(tmp_path):
    measured = [{"epoch": epoch, **{f"m{i}": float(i) for i in range(9)}} for epoch in (1, 2)]
    draw(tmp_path / "a.png", measured, ())


def evaluation_picture(path, **changed):
    """Draws 300 flat grey samples, and reads the picture as grey levels."""
    given = {
        "samples": np.linspace(0, 1, 300).reshape(300, 1, 1, 1) * np.ones((1, 28, 28, 1)),
        "probabilities": np.full((300, 4), 0.25),
        "neighbours": {"Some": np.zeros((3, 4, 28, 28, 1)), "Others": np.zeros((2, 4, 28, 28, 1))},
        "class_shares": {"samples": np.full(4, 0.25), "training set": np.full(4, 0.25)},
        "class_names": tuple("abcd"),
    } | changed
    plot_evaluation(path, **given)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_samples_stand_from_the_surest_to_the_least_sure(tmp_path):
    rng = np.random.default_rng(0)
    sure = rng.permutation(np.linspace(0.5, 1, 300))
    # The surer, the brighter.
    flat = (2 * sure - 1).reshape(300, 1, 1, 1) * np.ones((1, 28, 28, 1))
    picture = evaluation_picture(
        tmp_path / "a.png", samples=flat, probabilities=np.stack([1 - sure, sure], axis=1)
    )
    # Six rows of twenty, above everything else; the whole range of them is drawn.
    above = picture[: len(picture) // 3, 150:-40]
    inside = above[np.flatnonzero(above.min(axis=(1, 2)) < 60)].mean(axis=2)
    rows = [np.median(part[part > 0]) for part in np.array_split(inside, 6)]
    assert rows == sorted(rows, reverse=True)
    assert rows[0] > 210 and rows[-1] < 45
    # Within the first row too, from left to right.
    first = np.median(inside[: len(inside) // 6], axis=0)
    tenths = [np.median(part) for part in np.array_split(first, 5)]
    assert tenths == sorted(tenths, reverse=True) and tenths[0] > tenths[-1] + 10


def test_samples_stand_above_the_training_images_nearest_to_them(tmp_path):
    levels = np.array([0.2, 0.4, 0.6, 0.8])
    shown = np.broadcast_to(levels.reshape(1, 4, 1, 1, 1), (3, 4, 28, 28, 1))
    black = np.zeros((5, 28, 28, 1))
    picture = evaluation_picture(
        tmp_path / "a.png",
        samples=black,
        probabilities=np.full((5, 4), 0.25),
        neighbours={"Some": shown, "Others": shown[:, ::-1]},
    )
    grey = (picture.max(axis=2) == picture.min(axis=2)) * picture[..., 0]
    half = grey.shape[1] // 2
    for part, expected in ((grey[:, :half], levels), (grey[:, half:], levels[::-1])):
        heights = [np.median(np.nonzero(part == round(255 * level))[0]) for level in expected]
        assert heights == sorted(heights) and len(set(heights)) == 4


def test_a_larger_share_has_a_taller_bar_beside_the_other_set(tmp_path):
    picture = evaluation_picture(
        tmp_path / "a.png",
        class_shares={"samples": np.array([0.1, 0.9]), "training set": np.array([0.6, 0.4])},
        class_names=("a", "b"),
    )

    def bars(colour):
        heights = has_colour(picture, colour)[-330:].sum(axis=0)
        sides = heights[150:640], heights[640:]
        # The median: a bar is wider than the patch of its colour in the legend.
        return [np.median(side[side > 0]) for side in sides]

    (small, large), (medium, lesser) = bars("tab:blue"), bars("tab:orange")
    assert large / small == pytest.approx(9, rel=0.15)
    assert medium / large == pytest.approx(0.6 / 0.9, rel=0.05)
    assert lesser / large == pytest.approx(0.4 / 0.9, rel=0.05)


def test_a_picture_of_few_samples_of_colour(tmp_path):
    path = tmp_path / "a.png"
    red = np.zeros((2, 8, 8, 3))
    red[..., 0] = 1
    picture = evaluation_picture(
        path,
        samples=red,
        probabilities=np.eye(4)[:2],
        neighbours={"Some": red[:, None].repeat(3, axis=1)},
    )
    assert np.count_nonzero((picture == (255, 0, 0)).all(axis=2)) > 1000
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
