import jax.numpy as jnp
import numpy as np
import prdc
import pytest

from jaxgan.metrics import neighbours

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(90, 4))
FAKE = 0.8 * RNG.normal(size=(70, 4)) + 1.2
BLOCKS = pytest.mark.parametrize("block", [1, 500, 1 << 23])


@BLOCKS
@pytest.mark.parametrize(("k_precision", "k_density"), [(3, 5), (1, 2), (7, 4), (5, 5)])
def test_scores_equal_those_of_prdc(monkeypatch, k_precision, k_density, block):
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    scores = neighbours.neighbour_scores(REAL, FAKE, k_precision=k_precision, k_density=k_density)
    assert {type(score) for score in scores} == {float}
    first = prdc.compute_prdc(REAL, FAKE, k_precision)
    second = prdc.compute_prdc(REAL, FAKE, k_density)
    expected = first["precision"], first["recall"], second["density"], second["coverage"]
    np.testing.assert_allclose(scores, expected, rtol=1e-14)
    # Neither all nor none, or there is little to compare.
    assert all(0.1 < score < 0.95 for score in scores)


def test_k_is_3_and_5_by_default():
    given = neighbours.neighbour_scores(REAL, FAKE)
    assert given == neighbours.neighbour_scores(REAL, FAKE, k_precision=3, k_density=5)
    assert given != neighbours.neighbour_scores(REAL, FAKE, k_precision=4, k_density=6)


@pytest.mark.parametrize("shape", [(40, 2), (40, 64), (8, 64)])
def test_scores_equal_those_of_prdc_in_float32_with_few_and_many_columns(shape):
    real, fake = RNG.normal(size=(2, *shape)).astype(np.float32)
    scores = neighbours.neighbour_scores(jnp.asarray(real), jnp.asarray(fake), k_density=3)
    expected = prdc.compute_prdc(real.astype(float), fake.astype(float), 3)
    np.testing.assert_allclose(scores, [expected[name] for name in scores._fields], rtol=1e-14)


def test_a_case_by_hand():
    real = np.array([[0.0], [1.0], [10.0], [13.0]])
    fake = np.array([[1.5], [2.0], [20.0], [4.0]])
    # Real balls: [-1, 1], [0, 2], [7, 13], [10, 16]. Fake: [1, 2], [1.5, 2.5], [4, 36], [2, 6].
    scores = neighbours.neighbour_scores(real, fake, k_precision=1, k_density=1)
    # Among the real: 1.5 and 2 (a tie). Among the fake: 1 (a tie), 10 and 13.
    assert scores == (2 / 4, 3 / 4, 2 / 4, 1 / 4)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_copies_of_the_data(offset, scale):
    # Each row is in its own ball, and in those of k others on average.
    real = scale * RNG.normal(size=(300, 7)) + offset * scale
    scores = neighbours.neighbour_scores(real, RNG.permutation(real))
    assert scores[:2] == (1, 1)
    assert scores.density == pytest.approx(6 / 5, rel=1e-14)
    assert scores.coverage == 1


def test_constant_images():
    zeros, ones = np.full((10, 30), 0.1), np.ones((10, 30))
    # Each of 10 balls of the radius 0 holds all 10 fakes.
    assert neighbours.neighbour_scores(zeros, zeros) == (1, 1, 2, 1)
    assert neighbours.neighbour_scores(zeros, ones) == (0, 0, 0, 0)
    constant = neighbours.neighbour_scores(REAL, np.tile(REAL[0], (90, 1)))
    assert constant.precision == 1
    assert constant.recall == 1 / 90
    assert constant.coverage < 0.2


def test_one_mode_of_two():
    near, far = RNG.normal(size=(200, 5)), RNG.normal(size=(200, 5)) + 100
    scores = neighbours.neighbour_scores(np.concatenate([near, far]), RNG.normal(size=(400, 5)))
    assert scores.precision > 0.7
    assert 0.3 < scores.recall <= 0.5
    assert 0.3 < scores.coverage <= 0.5
    back = neighbours.neighbour_scores(RNG.normal(size=(400, 5)), np.concatenate([near, far]))
    assert 0.3 < back.precision <= 0.5
    assert back.recall > 0.7


@pytest.mark.parametrize(
    ("real", "fake", "ks", "message"),
    [
        (REAL[:5], FAKE, {}, r"real_features must have the shape \(n, d\), n at least 6"),
        (REAL, FAKE[:5], {}, r"fake_features must have the shape \(n, d\), n at least 6"),
        (REAL, FAKE[:7], {"k_precision": 7}, "n at least 8"),
        (REAL, FAKE[:, :2], {}, "real_features 4, fake_features 2"),
        (REAL, np.where(FAKE > 0, FAKE, np.nan), {}, "fake_features must be finite"),
        (REAL, FAKE, {"k_precision": 0}, "k must be 1 or more: k_precision 0, k_density 5"),
        (REAL, FAKE, {"k_density": 0}, "k must be 1 or more: k_precision 3, k_density 0"),
    ],
)
def test_scores_refuse_what_they_cannot_take(real, fake, ks, message):
    with pytest.raises(ValueError, match=message):
        neighbours.neighbour_scores(real, fake, **ks)


@BLOCKS
@pytest.mark.parametrize("k", [1, 3, 90])
def test_nearest_equals_all_distances_sorted(monkeypatch, k, block):
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    distances, indices = neighbours.nearest(FAKE, REAL, k)
    exact = np.array([[np.sqrt(np.sum((x - y) ** 2)) for y in REAL] for x in FAKE])
    np.testing.assert_array_equal(indices, np.argsort(exact, axis=1)[:, :k])
    np.testing.assert_allclose(distances, np.sort(exact, axis=1)[:, :k], rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_nearest_finds_copies_at_exactly_0(dtype, offset):
    database = (RNG.uniform(size=(500, 784)) + offset).astype(dtype)
    chosen = RNG.permutation(500)
    distances, indices = neighbours.nearest(database[chosen], database)
    np.testing.assert_array_equal(indices[:, 0], chosen)
    np.testing.assert_array_equal(distances, 0)
    assert distances.shape == indices.shape == (500, 1)


def test_nearest_is_exact_where_float32_sees_no_difference():
    # Squares of 1e-8 beside those of 1: the second pass sets the order right.
    database = np.array([[1.0, 2e-4], [1.0, 1e-4], [-1.0, 0.0]])
    distances, indices = neighbours.nearest([[1.0, 0.0]], database, 2)
    np.testing.assert_array_equal(indices, [[1, 0]])
    np.testing.assert_allclose(distances, [[1e-4, 2e-4]], rtol=1e-12)


@pytest.mark.parametrize(
    ("queries", "database", "k", "message"),
    [
        (FAKE, REAL, 0, "k must be between 1 and the 90 rows searched, not 0"),
        (FAKE, REAL, 91, "k must be between 1 and the 90 rows searched, not 91"),
        (FAKE[:0], REAL, 1, r"queries must have the shape .*, not \(0, 4\)"),
        (FAKE, REAL[:, :1], 1, "queries 4, database 1"),
        (FAKE, np.full_like(REAL, np.nan), 1, "database must be finite"),
    ],
)
def test_nearest_refuses_what_it_cannot_take(queries, database, k, message):
    with pytest.raises(ValueError, match=message):
        neighbours.nearest(queries, database, k)
