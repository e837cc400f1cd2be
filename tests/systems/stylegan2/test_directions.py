import jax
import numpy as np
import pytest

from jaxgan.systems.stylegan2.directions import class_directions, moved

rng = np.random.default_rng(0)
COUNT = 3000
# Blond faces mostly have beards: what goes with what is no chance.
HAIR = rng.integers(0, 3, COUNT)
BEARD = np.where(rng.random(COUNT) < 0.9, HAIR == 2, rng.random(COUNT) < 0.3).astype(int)
OF_HAIR, OF_BEARD = rng.normal(size=(3, 5)), rng.normal(size=(2, 5))
STYLES = OF_HAIR[HAIR] + OF_BEARD[BEARD] + 0.1 * rng.normal(size=(COUNT, 5))
SEEN = {"hair": np.eye(3)[HAIR], "beard": np.eye(2)[BEARD]}


def test_directions_are_those_that_made_the_styles():
    found = jax.jit(class_directions)(STYLES, SEEN)
    assert found.keys() == SEEN.keys()
    shares = SEEN["hair"].mean(axis=0)
    for code in range(3):
        others = [i for i in range(3) if i != code]
        mean = np.average(OF_HAIR[others], axis=0, weights=shares[others])
        np.testing.assert_allclose(found["hair"][code], OF_HAIR[code] - mean, atol=0.04)
    np.testing.assert_allclose(found["beard"][1], OF_BEARD[1] - OF_BEARD[0], atol=0.04)
    np.testing.assert_allclose(found["beard"][0], -found["beard"][1], atol=1e-4)
    # The difference of the means would have a beard in it.
    plain = STYLES[HAIR == 2].mean(axis=0) - STYLES[HAIR != 2].mean(axis=0)
    assert np.abs(plain - found["hair"][2]).max() > 0.3


def test_directions_are_those_of_least_squares():
    _, seen = SEEN["hair"], {"hair": SEEN["hair"] * 0.7 + 0.1}
    columns = np.concatenate([np.ones((COUNT, 1)), seen["hair"][:, 1:]], axis=1)
    effects = np.linalg.lstsq(columns, STYLES, rcond=None)[0]
    effects[0] = 0
    share = seen["hair"].mean(axis=0)
    found = class_directions(STYLES, seen)["hair"]
    for code in range(3):
        others = [i for i in range(3) if i != code]
        mean = np.average(effects[others], axis=0, weights=share[others])
        np.testing.assert_allclose(found[code], effects[code] - mean, rtol=2e-2, atol=1e-2)


def test_moved_styles():
    styles, direction = rng.normal(size=(2, 6, 4)), rng.normal(size=4)
    steps = np.asarray(moved(styles, direction, [-1.0, 0.0, 2.0], (1, 3)))
    assert steps.shape == (2, 3, 6, 4)
    for s, strength in enumerate((-1, 0, 2)):
        for layer in range(6):
            by = strength * direction if layer in (1, 3) else 0
            np.testing.assert_allclose(steps[:, s, layer], styles[:, layer] + by, rtol=1e-5)
    everywhere = moved(styles, direction, [1.0])
    np.testing.assert_allclose(everywhere[:, 0], styles + direction, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: class_directions(STYLES, {}), "directions want attributes"),
        (lambda: class_directions(STYLES[:1], {"a": [[0.5, 0.5]]}), "two samples or more"),
        (lambda: class_directions(STYLES, {"a": SEEN["hair"][1:]}), r"the shape \(3000, classes\)"),
        (
            lambda: class_directions(STYLES[:2], {"a": [[1.0, 0.0], [1.0, 0.0]]}),
            "a class of a is seen in none of the samples or in all",
        ),
        (lambda: moved(STYLES, STYLES[0], [1.0]), "styles, direction and strengths must have"),
        (lambda: moved(np.zeros((1, 6, 4)), np.zeros(4), [1.0], (6,)), "layers must be from 0"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(ValueError, match=message):
        call()
