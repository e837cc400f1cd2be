"""The recogniser that ships: it tells faces apart, and hair of another colour is the same face."""

from importlib import resources

import numpy as np
import pytest

from jaxgan.data import load, true_edits
from jaxgan.systems.age_cgan.recognition import (
    AGEING,
    IDENTITY,
    WEIGHTS,
    check_known,
    load_recogniser,
)


def test_it_is_small_and_knows_no_colour_of_hair():
    path = resources.files("jaxgan").joinpath("embedded", WEIGHTS)
    assert len(path.read_bytes()) < 1_000_000
    assert len(IDENTITY) == 9 and AGEING not in IDENTITY


def test_a_face_of_another_age_is_nearer_than_another_face():
    edits = true_edits()[AGEING]
    faces = edits.images[:40] / np.float32(255)
    embed = load_recogniser()
    own = embed(load("toon_faces", split="test").images[:40] / np.float32(255))
    assert own.shape == (40, 128)
    aged = embed(faces[:, edits.classes.index("white")])
    to_aged = np.linalg.norm(own - aged, axis=1)
    to_others = np.linalg.norm(own[:, None] - own[None], axis=2) + 1e9 * np.eye(40)
    assert (to_aged < to_others.min(axis=1)).mean() > 0.9
    # Faces of half the size are enlarged.
    halved = faces[:4, 0].reshape(4, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(
        embed(halved), embed(halved.repeat(2, axis=1).repeat(2, axis=2)), rtol=1e-5
    )
    assert load_recogniser() is embed


@pytest.mark.parametrize(
    ("dataset", "shape"), [("celeb_a", (64, 64, 3)), ("toon_faces", (16, 16, 3))]
)
def test_what_it_does_not_know(dataset, shape):
    check_known("toon_faces", (64, 64, 3))
    with pytest.raises(ValueError, match="knows toon_faces of 32x32x3 or 64x64x3 only, not "):
        check_known(dataset, shape)
