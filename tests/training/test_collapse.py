"""Signs of a collapse, in rows as runs have measured them and in rows made up at the limits."""

import numpy as np
import pytest

from jaxgan.training import collapse
from jaxgan.training.collapse import has_given_up, has_leapt, has_won

N = 12


def rows(**columns):
    return {name: np.broadcast_to(np.float64(its), N) for name, its in columns.items()}


def but_for(row, value, others):
    its = np.full(N, float(others))
    its[row] = value
    return its


@pytest.mark.parametrize(
    ("steps_per_epoch", "window"), [(9, 100), (100, 100), (561, 561), (20_000, 1000)]
)
def test_the_window_is_an_epoch_between_bounds(steps_per_epoch, window):
    assert collapse.window(steps_per_epoch) == window


@pytest.mark.parametrize("row", range(N))
def test_the_discriminator_has_won_if_every_row_says_so(row):
    said = has_won(rows(d_accuracy=0.9991))
    assert said.startswith("the discriminator tells 99.9% of the images right")
    assert has_won(rows(d_accuracy=but_for(row, 0.99, 1))) is None
    assert has_won(rows(d_accuracy=but_for(row, 0.99, 1)), share=0.98) is not None
    assert has_won(rows(d_accuracy=but_for(row, np.nan, 1))) is None
    assert has_won(rows(d_real=1)) is None


def test_the_discriminator_has_given_up_if_no_row_is_better_than_chance():
    # As runs with rates that are 50 times too high have measured.
    for accuracy, real, fake in ((0.5, 0.52712, 0.52712), (0.4899, 0.5136, 0.5097)):
        given_up = {"d_accuracy": accuracy, "d_real": real, "d_fake": fake}
        assert f"tells {accuracy:.1%} of the images right, no more than by chance" in (
            has_given_up(rows(**given_up))
        )
    # As a good run has measured it where it was the most even.
    assert has_given_up(rows(d_accuracy=0.576, d_real=0.528, d_fake=0.473)) is None
    for name, value in (("d_accuracy", 0.52), ("d_real", 0.54), ("d_fake", 0.48)):
        assert has_given_up(rows(**{**given_up, name: value})) is None
        assert has_given_up(rows(**{**given_up, name: but_for(3, value, given_up[name])})) is None
        assert has_given_up(rows(**{key: x for key, x in given_up.items() if key != name})) is None


def test_a_norm_that_leaps_is_told_from_one_that_grows():
    leapt = but_for(-1, 6.5, 2)
    assert "x_spectral_norm is 6.5, more than 3 times its median of 2" == has_leapt(
        rows(x_spectral_norm=leapt, y_spectral_norm=np.linspace(1, 2, N))
    )
    assert has_leapt(rows(x_spectral_norm=but_for(-1, 5.9, 2))) is None
    assert has_leapt(rows(x_spectral_norm=but_for(4, 600, 2))) is None
    assert has_leapt(rows(x_spectral_norm=np.geomspace(1, 5, N))) is None
    assert has_leapt(rows(loss=leapt)) is None
    # There is too little to compare with.
    assert has_leapt({"x_spectral_norm": np.array([1.0, 1, 9])}) is None


def test_the_accuracy_of_a_critic_is_no_sign():
    won = rows(d_accuracy=1)
    assert [sign(won) for sign in collapse.signs("wasserstein")] == [None]
    assert [sign(won) is None for sign in collapse.signs("hinge")] == [False, True, True]
