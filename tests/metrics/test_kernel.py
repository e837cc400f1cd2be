import numpy as np
import pytest

from jaxgan.metrics import kernel

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(9, 4))
FAKE = RNG.normal(size=(7, 4)) + 0.5


def unbiased(real, fake):
    def k(x, y):
        return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def own(features):
        pairs = [(i, j) for i in range(len(features)) for j in range(len(features)) if i != j]
        return sum(k(features[i], features[j]) for i, j in pairs) / len(pairs)

    cross = sum(k(x, y) for x in real for y in fake) / (len(real) * len(fake))
    return own(real) + own(fake) - 2 * cross


@pytest.mark.parametrize("block", [1, 20, 1 << 22])
def test_value_and_standard_error_equal_their_definitions(monkeypatch, block):
    monkeypatch.setattr(kernel, "_BLOCK", block)
    value, standard_error = kernel.kernel_distance(REAL, FAKE)
    assert type(value) is type(standard_error) is float
    np.testing.assert_allclose(value, unbiased(REAL, FAKE), rtol=1e-12)
    variance = 0
    for count, without in (
        (9, [unbiased(np.delete(REAL, i, axis=0), FAKE) for i in range(9)]),
        (7, [unbiased(REAL, np.delete(FAKE, i, axis=0)) for i in range(7)]),
    ):
        variance += (count - 1) / count * np.sum((without - np.mean(without)) ** 2)
    np.testing.assert_allclose(standard_error, np.sqrt(variance), rtol=1e-10)


def test_a_case_by_hand():
    # The kernel is 8 among the real rows, 1 among the fake ones and 1 between them.
    value, standard_error = kernel.kernel_distance(np.ones((3, 1)), np.zeros((4, 1)))
    assert value == 8 + 1 - 2
    assert standard_error == 0


def draws(shift, count, num_draws=400):
    rng = np.random.default_rng(1)
    for _ in range(num_draws):
        yield rng.normal(size=(count, 3)), rng.normal(size=(count, 3)) + shift


def test_value_is_unbiased_where_the_distributions_are_the_same():
    values = [kernel.kernel_distance(*pair).value for pair in draws(0, 20)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0


def test_standard_error_is_the_deviation_over_draws():
    distances = [kernel.kernel_distance(*pair) for pair in draws(1, 100)]
    values, standard_errors = np.array(distances).T
    # 400 draws tell a deviation to 3.5 % if it is a normal one's: four times that.
    np.testing.assert_allclose(np.mean(standard_errors), np.std(values), rtol=0.14)


def test_constant_images_and_more_columns_than_rows():
    constant = np.full((5, 300), 0.3, np.float32)
    value, standard_error = kernel.kernel_distance(constant, constant)
    assert abs(value) < 1e-14
    assert standard_error < 1e-14
    wide = RNG.normal(size=(2, 5, 300))
    np.testing.assert_allclose(kernel.kernel_distance(*wide).value, unbiased(*wide), rtol=1e-10)


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (REAL[:2], FAKE, r"real_features must have the shape \(n, d\), n at least 3"),
        (REAL, FAKE[:2], r"fake_features must have the shape \(n, d\), n at least 3"),
        (REAL, FAKE[:, 0], r"not \(7,\)"),
        (REAL, FAKE[:, :3], "real_features 4, fake_features 3"),
        (np.where(REAL == REAL[0, 0], np.nan, REAL), FAKE, "must be finite"),
    ],
)
def test_features_that_are_none_are_refused(real, fake, message):
    with pytest.raises(ValueError, match=message):
        kernel.kernel_distance(real, fake)
