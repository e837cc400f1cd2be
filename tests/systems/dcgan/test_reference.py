"""PyTorch's example written out in float64 NumPy, in its layouts and with its keys, at 8x8."""

import jax
import numpy as np
import pytest

from jaxgan.systems.dcgan import reference
from jaxgan.systems.reference import Case

SIDE, LATENT, WIDTHS = 8, 3, {"G": 2, "D": 3}
RNG = np.random.default_rng(0)


class Example:
    """Both networks of 8x8. Their weights are drawn when they are first asked for."""

    def __init__(self):
        self.state = {}
        self.rng = np.random.default_rng(1)

    def drawn(self, key, *shape):
        if key not in self.state:
            values = self.rng.normal(scale=0.5, size=shape) + key.endswith("1.weight")
            values = np.abs(values) + 0.5 if key.endswith("var") else values
            self.state[key] = values.astype(np.float32)
        return np.float64(self.state[key])

    def normal(self, key, x, train):
        scale, offset, mean, var = (
            self.drawn(f"{key}.{name}", x.shape[1])[:, None, None]
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        if train:
            mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        return (x - mean) / np.sqrt(var + 1e-5) * scale + offset

    def made(self, latents, train):
        first = self.drawn("main.0.weight", LATENT, WIDTHS["G"], 4, 4)
        self.map = np.einsum("nl,lchw->nchw", latents, first)
        x = np.maximum(0, self.normal("main.1", self.map, train))
        kernel = self.drawn("main.3.weight", WIDTHS["G"], 3, 4, 4)
        y = np.zeros((len(x), 3, 10, 10))
        for i in range(4):
            for j in range(4):
                y[:, :, i : i + 8 : 2, j : j + 8 : 2] += np.einsum(
                    "nchw,co->nohw", x, kernel[:, :, i, j]
                )
        return np.tanh(y[:, :, 1:-1, 1:-1])

    def logits(self, x):
        kernel = self.drawn("main.0.weight", WIDTHS["D"], 3, 4, 4)
        x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (4, 4), axis=(2, 3))[:, :, ::2, ::2]
        y = np.einsum("nchwij,ocij->nohw", windows, kernel)
        y = np.where(y >= 0, y, 0.2 * y)
        return np.einsum("nchw,ochw->n", y, self.drawn("main.2.weight", 1, WIDTHS["D"], 4, 4))


def probability(logits):
    return 1 / (1 + np.exp(-logits))


@pytest.fixture(scope="module")
def case():
    """The case, and what NumPy says of it, by the name of each array."""
    of_g, of_d = Example(), Example()
    latents = RNG.normal(size=(4, LATENT)).astype(np.float32)
    pixels = RNG.integers(0, 256, (4, 3, SIDE, SIDE), dtype=np.uint8)
    real, fake = np.float64(pixels) / 127.5 - 1, of_g.made(latents, True)
    logits = {"real": of_d.logits(real), "fake": of_d.logits(fake)}
    known = {
        "fake_eval": of_g.made(latents, False)[:, :, ::2, ::2],
        "fake_train": fake[:, :, ::2, ::2],
        "d_real_eval": probability(logits["real"]),
        "d_real_train": probability(logits["real"]),
        "d_fake_train": probability(logits["fake"]),
    }
    for name, values in (
        ("mean", of_g.map.mean((0, 2, 3))),
        # PyTorch's variance is unbiased.
        ("var", of_g.map.var((0, 2, 3), ddof=1)),
    ):
        key = f"main.1.running_{name}"
        known[f"running_after.G.{key}"] = 0.9 * of_g.state[key] + 0.1 * values
    meta = {"nz": LATENT, "ngf": WIDTHS["G"], "ndf": WIDTHS["D"], "nc": 3, "batch": 4, "stride": 2}
    arrays = {"latents": latents, "real_uint8": pixels}
    arrays |= {f"meta.{name}": np.array(value) for name, value in meta.items()}
    return Case(arrays, {"weights": {"G": of_g.state, "D": of_d.state}}, {}), known, logits


def test_a_case_of_the_example(case):
    case, known, logits = case
    found = {its.name: its.ours for its in reference.compared(case)}
    for name, expected in known.items():
        np.testing.assert_allclose(found[name], expected, atol=1e-4, err_msg=name)
    errors = np.log1p(np.exp(-logits["real"])).mean(), np.log1p(np.exp(logits["fake"])).mean()
    np.testing.assert_allclose(found["step.errD_real_errD_fake_errG"][:2], errors, rtol=1e-5)
    means = [probability(logits[kind]).mean() for kind in ("real", "fake")]
    np.testing.assert_allclose(found["step.Dx_DGz1_DGz2"][:2], means, atol=1e-5)
    weights = case.states["weights"]
    norms = {name for name in found if name.startswith("gradnorm")}
    assert norms == {
        f"gradnorm.{net}.{key}" for net in "GD" for key in weights[net] if "running" not in key
    }
    assert all(np.isfinite(found[name]) and found[name] > 0 for name in norms)
    assert all(reference.why_not_compared(name) for name in case.arrays)
    assert reference.why_not_compared("fake_eval") is None


def test_a_generator_of_the_example(case):
    state = case[0].states["weights"]["G"]
    config, variables, _ = reference.imported(state)
    assert (config.latent_size, config.width, config.image_shape) == (LATENT, 2, (SIDE, SIDE, 3))
    given = jax.jit(config.generator().apply)(variables, case[0].arrays["latents"])
    expected = case[1]["fake_eval"]
    np.testing.assert_allclose(
        np.asarray(given).transpose(0, 3, 1, 2)[:, :, ::2, ::2], expected, atol=1e-4
    )


def test_what_is_no_generator_of_the_example(case):
    with pytest.raises(
        ValueError, match="not the generator of PyTorch's DCGAN .* main.0.weight is"
    ):
        reference.imported({})
    state = dict(case[0].states["weights"]["G"])
    del state["main.1.bias"]
    with pytest.raises(ValueError, match=r"main.1.bias of shape \(2,\) is missing"):
        reference.imported(state)
