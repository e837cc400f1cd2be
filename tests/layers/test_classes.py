import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers.classes import one_hot


def test_vectors_of_several_labels_follow_each_other():
    labels = jnp.array([[0, 1], [2, 0], [1, 1]])
    given = one_hot(labels, (3, 2), 3)
    assert given.dtype == jnp.float32
    np.testing.assert_array_equal(given, [[1, 0, 0, 0, 1], [0, 0, 1, 1, 0], [0, 1, 0, 0, 1]])
    np.testing.assert_array_equal(one_hot(labels, (3, 2)), given)


@pytest.mark.parametrize("labels", [None, jnp.zeros((2, 2), int), jnp.zeros((3, 1), int)])
def test_labels_of_another_shape_are_refused(labels):
    with pytest.raises(AssertionError):
        one_hot(labels, (3, 2), 3)
