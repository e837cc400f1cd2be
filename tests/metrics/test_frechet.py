import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxgan.metrics import frechet

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(200, 8)) @ RNG.normal(size=(8, 8))
FAKE = RNG.normal(size=(150, 8)) @ RNG.normal(size=(8, 8)) + RNG.normal(size=8)


def distance(real, fake):
    return frechet.frechet_distance(frechet.moments(real), frechet.moments(fake))


@pytest.mark.parametrize("block", [1, 8 * 7, 1 << 22])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_moments(monkeypatch, dtype, block):
    monkeypatch.setattr(frechet, "_BLOCK", block)
    features = REAL.astype(dtype)
    mean, covariance = frechet.moments(features)
    assert mean.dtype == covariance.dtype == np.float64
    exact = features.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(covariance, np.cov(exact, rowvar=False), rtol=1e-12, atol=1e-13)


def test_moments_far_from_zero_and_of_a_jax_array():
    far = frechet.moments(REAL + 1e6)
    np.testing.assert_allclose(far.covariance, np.cov(REAL, rowvar=False), rtol=1e-7, atol=1e-8)
    halves = jnp.asarray(REAL, jnp.bfloat16)
    np.testing.assert_array_equal(
        frechet.moments(halves).covariance, frechet.moments(np.asarray(halves, float)).covariance
    )


def test_distance_equals_the_formula_with_scipys_root():
    (m, c), (n, d) = (
        (x.mean(axis=0), np.cov(x, rowvar=False)) for x in (REAL.astype(float), FAKE.astype(float))
    )
    root = scipy.linalg.sqrtm(c @ d)
    expected = np.sum((m - n) ** 2) + np.trace(c + d - 2 * root).real
    value = distance(REAL, FAKE)
    assert type(value) is float
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    np.testing.assert_allclose(distance(FAKE, REAL), value, rtol=1e-12)


def test_distance_of_normals_on_a_line():
    # (m - n)^2 + (s - t)^2 for the means m, n and the deviations s, t.
    real = frechet.Moments(np.array([1.0]), np.array([[4.0]]))
    fake = frechet.Moments(np.array([4.0]), np.array([[25.0]]))
    assert frechet.frechet_distance(real, fake) == pytest.approx(18.0, rel=1e-14)


@pytest.mark.parametrize("num_rows", [2, 5, 50])
def test_distance_of_a_set_to_itself_is_0_with_fewer_rows_than_columns(num_rows):
    features = RNG.normal(size=(num_rows, 64))
    value = distance(features, features)
    assert 0 <= value < 1e-11


def test_distance_of_sets_on_two_lines():
    # Both covariances have the rank 1, a a' and b b': the root's trace is |a'b|.
    a, b = RNG.normal(size=(2, 64))
    steps = np.array([-1.0, 0.0, 1.0])[:, None]
    expected = a @ a + b @ b - 2 * abs(a @ b)
    np.testing.assert_allclose(distance(steps * a, 5 + steps * b), expected + 64 * 25, rtol=1e-12)
    np.testing.assert_allclose(distance(steps * a, steps * b), expected, rtol=1e-12)


def test_distance_of_constant_images():
    zeros, ones = np.zeros((10, 8)), np.ones((12, 8))
    assert distance(zeros, zeros) == 0
    assert distance(zeros, ones) == 8
    expected = np.sum(REAL.mean(axis=0) ** 2) + np.trace(np.cov(REAL, rowvar=False))
    np.testing.assert_allclose(distance(REAL, zeros), expected, rtol=1e-12)


def test_distance_of_far_sets_is_their_means():
    np.testing.assert_allclose(distance(REAL, REAL + 1e8), 8e16, rtol=1e-12)


def with_one(value):
    features = np.ones((5, 3))
    features[3, 1] = value
    return features


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones(3), r"features must have the shape \(n, d\), n at least 2 .*, not \(3,\)"),
        (np.ones((2, 2, 2)), r"not \(2, 2, 2\)"),
        (np.ones((1, 3)), r"not \(1, 3\)"),
        (np.ones((3, 0)), r"not \(3, 0\)"),
        (np.ones((3, 3), complex), "must be real numbers, not complex128"),
        (np.array([["a", "b"]] * 3), "must be real numbers"),
        (with_one(np.nan), r"must be finite .*, not nan \(row 3, column 1\)"),
        (with_one(-np.inf), r"not -inf \(row 3, column 1\)"),
        (with_one(np.inf).astype(np.float32), r"not inf \(row 3, column 1\)"),
        (with_one(1e200), r"not 1e\+200 \(row 3, column 1\)"),
    ],
)
def test_features_that_are_none_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        frechet.moments(features)


def test_as_features_gives_float32_back_as_it_is_and_refuses_unequal_widths():
    singles = REAL.astype(np.float32)
    first, second = frechet.as_features(1, a=singles, b=np.ones((2, 8), np.int32))
    assert first is singles
    assert second.dtype == np.float64
    with pytest.raises(ValueError, match="same number of columns: a 8, b 7"):
        frechet.as_features(1, a=REAL, b=REAL[:, :7])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (frechet.Moments(np.zeros((2, 1)), np.eye(2)), "fake moments must have the shapes"),
        (frechet.Moments(np.zeros(2), np.eye(3)), "fake moments must have the shapes"),
        (frechet.Moments(np.zeros(2), np.full((2, 2), np.nan)), "fake moments must be finite"),
        (frechet.Moments(np.array([0, np.inf]), np.eye(2)), "fake moments must be finite"),
        (frechet.Moments(np.zeros(2), np.triu(np.ones((2, 2)))), "fake covariance must be symm"),
        (frechet.Moments(np.zeros(3), np.eye(3)), "equally wide: real 2, fake 3"),
    ],
)
def test_moments_that_are_none_are_refused(wrong, message):
    right = frechet.Moments(np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match=message):
        frechet.frechet_distance(right, wrong)
    with pytest.raises(ValueError):
        frechet.frechet_distance(wrong, right)
