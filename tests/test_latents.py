import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgan import latents

COUNT = 100_000
FRACTIONS = jnp.linspace(0.0, 1.0, 9)


# Means of COUNT independent terms: 5 standard errors, which a right sampler leaves for one key in
# more than a million. The keys are fixed, so the tests do not flicker.
@pytest.mark.parametrize(
    ("noise", "moments"),
    [
        # The first four moments, and for the error of each, the moment of twice its order.
        (latents.normal, [0, 1, 0, 3, 15, 105]),
        (latents.uniform, [0, 1 / 3, 0, 1 / 5, 1 / 7, 1 / 9]),
    ],
)
def test_moments(noise, moments):
    drawn = np.asarray(noise(jax.random.key(0), (COUNT,)), np.float64)
    raw = {1: moments[0], 2: moments[1], 3: moments[2], 4: moments[3], 6: moments[4], 8: moments[5]}
    for order in (1, 2, 3, 4):
        error = math.sqrt((raw[2 * order] - raw[order] ** 2) / COUNT)
        assert abs(np.mean(drawn**order) - raw[order]) < 5 * error


def normal_cdf(x):
    return 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


@pytest.mark.parametrize(
    ("noise", "cdf"), [(latents.normal, normal_cdf), (latents.uniform, lambda x: (x + 1) / 2)]
)
def test_distribution(noise, cdf):
    # Kolmogorov and Smirnov's distance, at its limit for a level of 1e-6 (DKW's inequality).
    drawn = np.sort(np.asarray(noise(jax.random.key(1), (COUNT,)), np.float64))
    ranks = np.arange(COUNT + 1) / COUNT
    distance = max(np.max(ranks[1:] - cdf(drawn)), np.max(cdf(drawn) - ranks[:-1]))
    assert distance < math.sqrt(math.log(2 / 1e-6) / (2 * COUNT))


def test_normal_has_its_tails():
    # 6.3 of as many are expected beyond 4, where a truncated normal may have none.
    drawn = np.abs(latents.normal(jax.random.key(2), (COUNT,)))
    assert 1 <= np.sum(drawn > 4) <= 20


def test_uniform_stays_in_range():
    drawn = latents.uniform(jax.random.key(2), (COUNT,))
    assert drawn.min() >= -1
    assert drawn.max() < 1


@pytest.mark.parametrize("name", ["normal", "uniform"])
def test_noises_by_name(name):
    noise = latents.NOISES[name]
    drawn = noise(jax.random.key(3), (4, 3))
    assert drawn.shape == (4, 3)
    assert drawn.dtype == jnp.float32
    np.testing.assert_array_equal(drawn, noise(jax.random.key(3), (4, 3)))
    assert not np.any(drawn == noise(jax.random.key(4), (4, 3)))
    # All different: no row, column or number is used twice.
    assert len(np.unique(drawn)) == drawn.size
    assert latents.NOISES[name] is getattr(latents, name)


def test_walks_by_name():
    assert dict(latents.WALKS) == {"normal": latents.slerp, "uniform": latents.lerp}


def vectors(size: int = 50):
    start, end = np.random.default_rng(0).normal(size=(2, size))
    return jnp.asarray(start, jnp.float32), jnp.asarray(end, jnp.float32)


def test_lerp_is_the_straight_line():
    start, end = (np.asarray(x, np.float64) for x in vectors())
    expected = [start + t * (end - start) for t in np.linspace(0, 1, 9)]
    np.testing.assert_allclose(latents.lerp(*vectors(), FRACTIONS), expected, atol=1e-6)


@pytest.mark.parametrize("walk", [latents.lerp, latents.slerp])
def test_a_walk_begins_and_ends_at_the_vectors_given(walk):
    start, end = vectors()
    path = walk(start, end, FRACTIONS)
    assert path.shape == (9, 50)
    assert path.dtype == jnp.float32
    np.testing.assert_allclose(path[0], start, atol=1e-6)
    np.testing.assert_allclose(path[-1], end, atol=1e-6)


def test_slerp_keeps_the_norm_and_turns_at_an_even_pace():
    start, end = vectors()
    end = end * jnp.linalg.norm(start) / jnp.linalg.norm(end)
    path = np.asarray(latents.slerp(start, end, FRACTIONS), np.float64)
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    radius = np.linalg.norm(start)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), radius, rtol=1e-5)
    whole = np.arccos(start @ end / radius**2)
    angles = np.arccos(np.clip(path[1:] @ start / radius**2, -1, 1))
    np.testing.assert_allclose(angles, np.linspace(0, 1, 9)[1:] * whole, rtol=1e-4)
    # Along an arc of one plane, that of start and end.
    basis, _ = np.linalg.qr(np.stack([start, end], axis=1))
    np.testing.assert_allclose(path, path @ basis @ basis.T, atol=1e-5)


def test_slerp_of_a_quarter_turn():
    start, end = jnp.array([2.0, 0.0, 0.0]), jnp.array([0.0, 2.0, 0.0])
    turn = np.linspace(0, np.pi / 2, 9)
    expected = 2 * np.stack([np.cos(turn), np.sin(turn), np.zeros(9)], axis=1)
    np.testing.assert_allclose(latents.slerp(start, end, FRACTIONS), expected, atol=1e-6)


NO_ARC = {
    "same": (1.0, 1.0),
    "parallel": (1.0, 3.0),
    "antiparallel": (1.0, -1.0),
    "from zero": (0.0, 1.0),
    "to zero": (1.0, 0.0),
    "both zero": (0.0, 0.0),
}


@pytest.mark.parametrize(("first", "second"), NO_ARC.values(), ids=NO_ARC)
def test_slerp_without_an_arc_is_the_straight_line(first, second):
    vector, _ = vectors()
    start, end = first * vector, second * vector
    line = np.outer(1 - FRACTIONS, start) + np.outer(FRACTIONS, end)
    np.testing.assert_allclose(latents.slerp(start, end, FRACTIONS), line, atol=1e-5)


@pytest.mark.parametrize(("first", "second"), NO_ARC.values(), ids=NO_ARC)
def test_slerp_without_an_arc_has_the_straight_lines_gradient(first, second):
    vector, _ = vectors(5)
    weights = jnp.arange(45.0).reshape(9, 5)
    gradient = jax.jit(
        jax.grad(lambda x: jnp.sum(weights * latents.slerp(x, second * vector, FRACTIONS)))
    )
    np.testing.assert_allclose(gradient(first * vector), (1 - FRACTIONS) @ weights, rtol=1e-5)


@pytest.mark.parametrize("walk", [latents.lerp, latents.slerp])
@pytest.mark.parametrize(
    "shapes", [((3,), (4,), (5,)), ((1, 3), (1, 3), (5,)), ((3,), (3,), (5, 1)), ((3,), (3,), ())]
)
def test_walks_refuse_other_shapes(walk, shapes):
    with pytest.raises(AssertionError):
        walk(*(jnp.ones(shape) for shape in shapes))


@pytest.mark.parametrize("bound", [0.05, 0.5, 2.0])
def test_truncated_numbers_are_those_of_the_truncated_normal_distribution(bound):
    drawn = latents.normal(jax.random.key(2), (COUNT,))
    its = np.sort(np.asarray(latents.truncated(drawn, bound), np.float64))
    assert -bound <= its[0] and its[-1] <= bound and its.dtype == np.float64
    expected = scipy.stats.truncnorm.cdf(its, -bound, bound)
    # Kolmogorov and Smirnov's distance at its limit for a level of 1e-6, as above.
    limit = math.sqrt(math.log(2 / 1e-6) / (2 * COUNT))
    ranks = np.arange(1, COUNT + 1) / COUNT
    assert np.abs(expected - ranks).max() < limit + 1 / COUNT


def test_a_bound_that_no_number_reaches_changes_nothing():
    drawn = jnp.array([-7.0, -5.2, -1.0, 0.0, 0.3, 4.0, 9.0])
    np.testing.assert_allclose(latents.truncated(drawn, 50.0), drawn, rtol=0.02)
    large = latents.truncated(drawn, 3.0)
    assert np.all(np.abs(large) <= 3) and np.all(np.diff(large) >= 0)
    np.testing.assert_allclose(large[0], -3, atol=1e-3)
