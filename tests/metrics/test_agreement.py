import numpy as np
import pytest

from jaxgan.metrics.agreement import agreement, classify

# Of four images: the colour seen is 0, 1, 2, 2, and the hat 1, 0, 0, 1.
SEEN = {
    "colour": [[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.1, 0.3, 0.6], [0.0, 0.1, 0.9]],
    "hat": [[0.4, 0.6], [0.8, 0.2], [1.0, 0.0], [0.45, 0.55]],
}


def test_shares_are_those_of_the_likeliest_classes():
    found = agreement(SEEN, {"colour": [0, 1, 2, 1], "hat": [1, 1, 0, 0]})
    # Colour: right, right, right, wrong. Hat: right, wrong, right, wrong.
    assert found.shares == {"colour": 0.75, "hat": 0.5}
    assert found.together == 0.5


def test_all_are_right_together_only_in_the_same_images():
    # Colour: right, right, wrong, wrong. Hat: wrong, wrong, right, right.
    found = agreement(SEEN, {"colour": [0, 1, 0, 0], "hat": [0, 1, 0, 1]})
    assert found.shares == {"colour": 0.5, "hat": 0.5}
    assert found.together == 0.0


def test_of_what_nobody_asked_for_nothing_is_said():
    found = agreement(SEEN, {"hat": np.array([1, 0, 0, 0])})
    assert found == ({"hat": 0.75}, 0.75)


@pytest.mark.parametrize(
    ("seen", "asked", "message"),
    [
        (SEEN, {}, "at least one attribute"),
        (SEEN, {"shoes": [0] * 4}, "no probabilities of 'shoes', only of colour, hat"),
        (SEEN, {"hat": [0] * 3}, r"of hat must be 4 integers, .* not int64 of the shape \(3,\)"),
        (SEEN, {"hat": [[0]] * 4}, r"not int64 of the shape \(4, 1\)"),
        (SEEN, {"hat": [0.0] * 4}, "not float64"),
        (SEEN, {"hat": [0, 1, 2, 0]}, "of hat must be from 0 to 1, not 0 to 2"),
        (SEEN, {"colour": [0, -1, 2, 0]}, "of colour must be from 0 to 2, not -1 to 2"),
        ({"hat": [[2.0, -1.0]]}, {"hat": [0]}, "must be 0 or more and sum to 1"),
        (
            SEEN | {"hat": [[0.5, 0.5]]},
            {"colour": [0] * 4, "hat": [0]},
            "all attributes must be of the same images: there are 4 of colour, 1 of hat",
        ),
    ],
)
def test_what_cannot_be_compared_is_told(seen, asked, message):
    with pytest.raises(ValueError, match=message):
        agreement(seen, asked)


def test_images_are_shown_some_at_a_time_and_each_attribute_comes_back():
    counts = []

    def classifier(images):
        counts.append(len(images))
        grey = images.mean(axis=(1, 2, 3))[:, None]
        return {
            "dark": np.hstack([grey, 1 - grey]),
            "thirds": np.hstack([grey / 2, grey / 2, 1 - grey]),
        }

    images = np.arange(700, dtype=np.float32).reshape(-1, 1, 1, 1) * np.ones((2, 2, 3)) / 700
    seen = classify(images.astype(np.float32), classifier)
    assert len(counts) == 2
    grey = np.arange(700) / 700
    np.testing.assert_allclose(seen["dark"], np.stack([grey, 1 - grey], 1), atol=1e-6)
    np.testing.assert_allclose(
        seen["thirds"], np.stack([grey / 2, grey / 2, 1 - grey], 1), atol=1e-6
    )
