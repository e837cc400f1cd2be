"""The numbers that stand for classes."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.systems.stargan.labels import Coding

CODING = Coding((("hair", ("black", "brown", "grey")), ("beard", ("no", "yes"))))
CODES = np.array([[2, 0], [0, 1], [1, 1]], np.int32)
NUMBERS = np.array([[0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 1]], np.float32)


def test_a_class_of_several_is_a_one_hot_vector_and_one_of_two_a_number():
    assert CODING.sizes == (3, 1) and CODING.size == 4 and CODING.names == ("hair", "beard")
    np.testing.assert_array_equal(CODING.encode(jnp.asarray(CODES)), NUMBERS)


def test_the_likeliest_classes():
    logits = np.array([[-1, -3, 2, -0.1], [5, 4, 4.9, 0.1], [-9, -8, -8.5, 7]], np.float32)
    np.testing.assert_array_equal(CODING.decode(jnp.asarray(logits)), CODES)


def test_the_cross_entropy_is_the_sum_over_attributes_and_the_mean_over_images():
    logits = np.random.default_rng(0).normal(size=(3, 4))
    shares = np.exp(logits[:, :3]) / np.exp(logits[:, :3]).sum(axis=1, keepdims=True)
    of_hair = -np.log(shares[np.arange(3), CODES[:, 0]])
    yes = 1 / (1 + np.exp(-logits[:, 3]))
    of_beard = -np.log(np.where(CODES[:, 1] == 1, yes, 1 - yes))
    given = CODING.cross_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(CODES))
    np.testing.assert_allclose(given, (of_hair + of_beard).mean(), rtol=1e-6)


def test_a_face_of_celeb_a_has_one_colour_of_hair():
    names = ("Black_Hair", "Male", "Gray_Hair")
    coding = Coding(tuple((name, ("no", "yes")) for name in names))
    codes = jnp.array([[1, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(coding.changed(codes, "Gray_Hair", 1), [[0, 1, 1], [0, 0, 1]])
    np.testing.assert_array_equal(coding.changed(codes, "Gray_Hair", 0), [[1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(coding.changed(codes, "Male", 1), [[1, 1, 0], [0, 1, 1]])
    np.testing.assert_array_equal(CODING.changed(jnp.asarray(CODES), "hair", 1)[:, 0], [1, 1, 1])
    # An edit of one colour takes the others with it.
    assert coding.groups == ((1,), (0, 2)) and CODING.groups == ((0,), (1,))


def test_the_branches_of_classes():
    logits = np.arange(15.0).reshape(3, 5)
    assert CODING.num_classes == 5
    # Three branches of hair, two of beards.
    expected = [[2, 3], [5, 9], [11, 14]]
    np.testing.assert_array_equal(
        CODING.branches(jnp.asarray(logits), jnp.asarray(CODES)), expected
    )


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 3)])
def test_codes_of_another_shape_are_refused(shape):
    with pytest.raises(AssertionError):
        CODING.encode(jnp.zeros(shape, jnp.int32))
