import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from jaxgan.metrics.pairs import similarity

RNG = np.random.default_rng(0)
TRUTH = RNG.random((5, 16, 12, 3))
IMAGES = np.clip(TRUTH + RNG.normal(0, 0.1, TRUTH.shape), 0, 1)


def ssim_of_planes(x, y):
    """Wang et al. 2004, equation 13, over all windows of 7x7 that lie inside, unbiased."""

    def mean(plane):
        return uniform_filter(plane, 7)[3:-3, 3:-3]

    n = 49 / 48
    mx, my = mean(x), mean(y)
    vx, vy = n * (mean(x * x) - mx * mx), n * (mean(y * y) - my * my)
    vxy = n * (mean(x * y) - mx * my)
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mx * my + c1) * (2 * vxy + c2)
    return (top / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()


def test_each_score_is_its_formula():
    found = similarity(IMAGES, TRUTH)
    errors = np.square(IMAGES - TRUTH).mean(axis=(1, 2, 3))
    planes = [
        ssim_of_planes(x[..., channel], y[..., channel])
        for x, y in zip(IMAGES, TRUTH, strict=True)
        for channel in range(3)
    ]
    np.testing.assert_allclose(found["l1"], np.abs(IMAGES - TRUTH).mean(), rtol=1e-9)
    np.testing.assert_allclose(found["psnr"], (-10 * np.log10(errors)).mean(), rtol=1e-9)
    np.testing.assert_allclose(found["ssim"], np.mean(planes), rtol=1e-9)


def test_images_that_are_the_true_ones():
    assert similarity(TRUTH, TRUTH) == pytest.approx({"l1": 0, "psnr": 100, "ssim": 1})


def test_grey_images_of_float32():
    grey = TRUTH[..., :1].astype(np.float32)
    assert similarity(1 - grey, grey)["ssim"] < 0


@pytest.mark.parametrize("images", [IMAGES[:4], IMAGES[..., :1], IMAGES[0], IMAGES[:0]])
def test_images_that_are_no_pairs(images):
    with pytest.raises(ValueError, match="one shape"):
        similarity(images, TRUTH)
