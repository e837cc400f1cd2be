"""The PyTorch port's networks written out in float64 NumPy, in its layouts and with its keys."""

import jax
import numpy as np
import pytest

from jaxgan.layers.training_call import call
from jaxgan.systems.pix2pix import reference
from jaxgan.systems.pix2pix.networks import PatchDiscriminator
from jaxgan.systems.reference import Case, carried_over, gradient_norms

SIDE, HALVINGS = 32, 5
RNG = np.random.default_rng(0)
INPUTS = RNG.uniform(-1, 1, (2, 1, SIDE, SIDE)).astype(np.float32)
IMAGES = RNG.uniform(-1, 1, (2, 3, SIDE, SIDE)).astype(np.float32)


class Port:
    """Both networks. Their weights are drawn when they are first asked for, by their keys."""

    def __init__(self, norm, train=True):
        self.norm, self.train, self.state = norm, train, {}
        self.rng = np.random.default_rng(1)

    def drawn(self, key, *shape):
        if key not in self.state:
            values = self.rng.normal(scale=1.5 / np.sqrt(np.prod(shape[1:]) or 1), size=shape)
            if key.endswith("running_var"):
                values = np.abs(values) + 0.5
            self.state[key] = values.astype(np.float32)
        return np.float64(self.state[key])

    def with_bias(self, key, y, has_bias):
        return y + self.drawn(f"{key}.bias", y.shape[1])[:, None, None] if has_bias else y

    def halved(self, key, x, width, has_bias, stride=2):
        kernel = self.drawn(f"{key}.weight", width, x.shape[1], 4, 4)
        x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (4, 4), axis=(2, 3))
        y = np.einsum("nchwij,ocij->nohw", windows[:, :, ::stride, ::stride], kernel)
        return self.with_bias(key, y, has_bias)

    def doubled(self, key, x, width, has_bias):
        batch, channels, height, side = x.shape
        kernel = self.drawn(f"{key}.weight", channels, width, 4, 4)
        y = np.zeros((batch, width, 2 * height + 2, 2 * side + 2))
        for i in range(4):
            for j in range(4):
                part = np.einsum("nchw,co->nohw", x, kernel[:, :, i, j])
                y[:, :, i : i + 2 * height : 2, j : j + 2 * side : 2] += part
        return self.with_bias(key, y[:, :, 1:-1, 1:-1], has_bias)

    def normal(self, key, x):
        if self.norm == "instance":
            mean, var = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
            return (x - mean) / np.sqrt(var + 1e-5)
        scale, offset, mean, var = (
            self.drawn(f"{key}.{name}", x.shape[1])[:, None, None]
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        self.state[f"{key}.num_batches_tracked"] = np.array(7)
        if self.train:
            mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        return (x - mean) / np.sqrt(var + 1e-5) * scale + offset

    def translated(self, x, width=1):
        return np.tanh(self.block(x, "model.model", 0, [width * min(1 << i, 8) for i in range(5)]))

    def block(self, x, key, i, widths):
        has_bias = self.norm == "instance"
        if i == 0:
            inner = self.halved(f"{key}.0", x, widths[0], has_bias)
            inner = self.block(inner, f"{key}.1.model", 1, widths)
            return self.doubled(f"{key}.3", relu(inner), 3, True)
        y = self.halved(f"{key}.1", leaky(x), widths[i], has_bias)
        if i < HALVINGS - 1:
            y = self.block(self.normal(f"{key}.2", y), f"{key}.3.model", i + 1, widths)
        up = 3 if i == HALVINGS - 1 else 5
        y = self.doubled(f"{key}.{up}", relu(y), widths[i - 1], has_bias)
        return np.concatenate([x, self.normal(f"{key}.{up + 1}", y)], axis=1)

    def judged(self, x, halvings, width=2):
        has_bias = self.norm == "instance"
        x = leaky(self.halved("model.0", x, width, True))
        for i in range(1, halvings + 1):
            stride = 2 if i < halvings else 1
            key = 3 * i - 1
            x = self.halved(f"model.{key}", x, width * min(1 << i, 8), has_bias, stride)
            x = leaky(self.normal(f"model.{key + 1}", x))
        return self.halved(f"model.{3 * halvings + 2}", x, 1, True, 1)[:, 0]


def relu(x):
    return np.maximum(0, x)


def leaky(x):
    return np.where(x >= 0, x, 0.2 * x)


def last(images):
    return images.transpose(0, 2, 3, 1)


def a_generator(norm):
    port = Port(norm)
    port.translated(np.float64(INPUTS))
    return port.state


@pytest.mark.parametrize(("norm", "train"), [("batch", True), ("batch", False), ("instance", True)])
def test_a_generator_of_the_port(norm, train):
    port = Port(norm, train)
    expected = port.translated(np.float64(INPUTS))
    config, variables, _ = reference.imported(port.state)
    assert config.image_shape == (SIDE, SIDE, 3) and config.input_channels == 1
    assert (config.halvings, config.width, config.norm, config.dropout) == (5, 1, norm, "port")
    module = config.generator()
    if train:
        apply = jax.jit(lambda variables, x: call(module, variables, x, axis_name=None)[0])
    else:
        apply = jax.jit(module.apply)
    given = np.asarray(apply(variables, last(INPUTS)))
    np.testing.assert_allclose(given, last(expected), atol=1e-4)
    assert given.std() > 0.1


@pytest.mark.parametrize(("norm", "halvings"), [("batch", 1), ("instance", 3)])
def test_a_discriminator_of_the_port(norm, halvings):
    port = Port(norm)
    expected = port.judged(np.concatenate([INPUTS, IMAGES], axis=1, dtype=np.float64), halvings)
    module = PatchDiscriminator(2, (SIDE, SIDE, 3), 1, halvings=halvings, norm=norm)
    table = reference.discriminator_table(module)
    variables = carried_over(port.state, table)
    apply = jax.jit(lambda variables, *x: call(module, variables, *x, axis_name=None)[0])
    given = apply(variables, last(IMAGES), last(INPUTS))
    np.testing.assert_allclose(given, expected, atol=1e-4)
    norms = gradient_norms(variables["params"], table)
    assert norms.keys() == {key for key in port.state if "running" not in key} - {
        key for key in port.state if "tracked" in key
    }
    for key, length in norms.items():
        has_effect = norm == "batch" or key not in ("model.2.bias", "model.5.bias", "model.8.bias")
        expected = np.linalg.norm(port.state[key]) if has_effect else 0
        np.testing.assert_allclose(length, expected, rtol=1e-5)


def test_the_published_u_net_of_256x256():
    """Facts of the checkpoints facades and edges2shoes: 54.4 million numbers under these keys."""
    from jaxgan.systems.pix2pix.config import Pix2PixConfig

    config = Pix2PixConfig(recipe="textbook", task="pairs", input_feature="input")
    table = reference.generator_table(config.generator())
    innermost = "model.model" + ".1.model" + 6 * ".3.model"
    assert table[f"{innermost}.1.weight"].shape == (512, 512, 4, 4)
    assert table[f"{innermost}.3.weight"].shape == (512, 512, 4, 4)
    assert table["model.model.1.model.5.weight"].shape == (256, 64, 4, 4)
    assert table["model.model.3.weight"].shape == (128, 3, 4, 4)
    assert f"{innermost}.1.bias" not in table and "model.model.0.bias" not in table
    params = [its.shape for its in table.values() if its.path[0] == "params"]
    assert sum(np.prod(shape) for shape in params) == 54_413_955


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("model.model.0.weight"), "model.model.0.weight is missing"),
        (
            lambda state: state.pop("model.model.3.bias"),
            r"model.model.3.bias of shape \(3,\) is mis",
        ),
        (
            lambda state: state.update(more=np.ones(3)),
            "more belongs to no network of these settings",
        ),
        (
            lambda state: state.update({"model.model.3.bias": np.ones(4)}),
            r"model.model.3.bias has the shape \(4,\), not \(3,\)",
        ),
        (
            lambda state: state.update({"model.model.3.bias": np.full(3, np.nan)}),
            "model.model.3.bias has numbers that are NaN",
        ),
        (
            lambda state: state.update({"model.model.1.model.1.weight": np.ones((3, 1, 4, 4))}),
            "model.model.1.model.1.weight has the shape",
        ),
        (
            lambda state: state.pop("model.model.1.model.3.model.1.weight"),
            "it halves 2 times, not 5 to 16",
        ),
        (
            lambda state: state.update({"model.model.0.weight": np.ones(3)}),
            r"model.model.0.weight has the shape \(3,\)",
        ),
    ],
)
def test_what_is_no_generator_of_the_port(change, message):
    state = a_generator("batch")
    change(state)
    with pytest.raises(ValueError, match=message):
        reference.imported(state)


def test_a_case_begins_with_the_generators_output():
    norm = "batch"
    of_g, of_d = Port(norm), Port(norm)
    pixels = {
        name: RNG.integers(0, 256, (2, channels, SIDE, SIDE), dtype=np.uint8)
        for name, channels in (("A_uint8", 1), ("B_uint8", 3))
    }
    inputs, real = (np.float64(pixels[name]) / 127.5 - 1 for name in ("A_uint8", "B_uint8"))
    fake = of_g.translated(inputs)
    of_d.judged(np.concatenate([inputs, real], axis=1), 2)
    meta = {"num_downs": 5, "size": SIDE, "ngf": 1, "ndf": 2, "n_layers_D": 2, "norm": norm}
    meta |= {"input_nc": 1, "output_nc": 3, "batch": 2, "stride": 2}
    arrays = pixels | {f"meta.{name}": np.array(value) for name, value in meta.items()}
    case = Case(arrays, {"weights": {"G": of_g.state, "D": of_d.state}}, {})
    first = next(reference.compared(case))
    assert first.name == "fake_train_batch"
    np.testing.assert_allclose(first.ours, fake[:, :, ::2, ::2], atol=1e-4)
    assert all(reference.why_not_compared(name) for name in arrays)
    assert reference.why_not_compared("fake_eval") is None
