import base64
import zlib

import numpy as np
import pytest

from jaxgan.playground.packing import Pack, restored, round_weights

RNG = np.random.default_rng(0)


def network(scale=1.0):
    return {
        "params": {
            name: {"kernel": scale * RNG.standard_normal(shape, np.float32), "bias": np.ones(3)}
            for name, shape in {"Dense_0": (4, 3), "Dense_1": (300, 200)}.items()
        }
    }


def largest_error(variables):
    def error(rounded):
        return np.max(
            [
                np.abs(rounded["params"][name]["kernel"] - layer["kernel"]).max()
                for name, layer in variables["params"].items()
            ]
        )

    return error


@pytest.mark.parametrize("tolerance", [0.1, 0.01, 0.001])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_weights_are_rounded_no_more_than_told_and_no_less_than_can_be(tolerance, scale):
    variables = network(scale)
    error = largest_error(variables)
    rounded = round_weights(variables, error, tolerance * scale)
    given = restored(variables, rounded)
    assert error(given) <= tolerance * scale
    # The steps are finer by a root of two at a time, and the first tried is a 32nd of a deviation.
    assert error(given) > tolerance * scale / 3 or tolerance > 1 / 64
    for name, (values, step) in rounded.items():
        assert values.dtype == np.int32 and np.abs(values).max() < 2**15 and step > 0
        np.testing.assert_array_equal(given["params"][name]["bias"], np.ones(3))


def test_a_layer_of_zeros_can_be_rounded():
    variables = network(0.0)
    rounded = round_weights(variables, largest_error(variables), 0.0)
    assert all(not values.any() for values, _ in rounded.values())


def test_weights_that_are_no_numbers_are_refused():
    variables = network()
    variables["params"]["Dense_1"]["kernel"][0, 0] = np.nan
    with pytest.raises(ValueError, match="cannot be rounded"):
        round_weights(variables, largest_error(variables), 0.1)


def unpacked(pack):
    """The bytes of each array, by what the docstring of `Pack` says."""
    index = pack.index()
    text = pack.text()
    assert not set(text) & set("<\"' \n")
    content = zlib.decompress(base64.b85decode(text.replace(",", "<"))[: index["bytes"]])
    return index["arrays"], np.frombuffer(content, np.uint8)


def halves(content, count):
    return np.stack([content & 15, content >> 4], axis=1).ravel()[:count]


@pytest.mark.parametrize("count", [1, 2, 9, 1000])
def test_rounded_weights_come_back_by_the_documented_format(count):
    values = RNG.integers(-(2**15) + 1, 2**15, count).astype(np.int32)
    pack = Pack()
    pack.add_rounded("weights", values.reshape(1, count), 0.5)
    (array,), content = unpacked(pack)
    assert array == {"name": "weights", "kind": "rounded", "shape": [1, count], "step": 0.5}
    half = (count + 1) // 2
    zigzag = halves(content[:half], count).astype(int)
    zigzag += content[half : half + count].astype(int) << 4
    zigzag += content[half + count :].astype(int) << 12
    given = np.where(zigzag % 2, -(zigzag + 1) // 2, zigzag // 2)
    np.testing.assert_array_equal(given, values)


def test_other_arrays_come_back_one_after_another():
    nibbles = RNG.integers(0, 16, (3, 5)).astype(np.uint8)
    floats = RNG.standard_normal((2, 2)).astype(np.float32)
    pack = Pack()
    pack.add_nibbles("nibbles", nibbles)
    pack.add("floats", floats)
    pack.add("bytes", np.arange(7, dtype=np.uint8))
    arrays, content = unpacked(pack)
    assert [(a["name"], a["kind"], a["shape"]) for a in arrays] == [
        ("nibbles", "nibbles", [3, 5]),
        ("floats", "float32", [2, 2]),
        ("bytes", "uint8", [7]),
    ]
    np.testing.assert_array_equal(halves(content[:8], 15), nibbles.ravel())
    np.testing.assert_array_equal(content[8:24].view(np.float32), floats.ravel())
    np.testing.assert_array_equal(content[24:], np.arange(7))
