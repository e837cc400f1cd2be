"""How similar images are to the true ones. Imports scikit-image, an extra of the package."""

import numpy as np

try:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity
except ImportError as error:
    raise ImportError(
        f"structural similarity needs scikit-image ({error}): pip install scikit-image"
    ) from error

# The PSNR of equal images is infinite, and a mean with it would be too.
_MOST_PSNR = 100.0


def similarity(images: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Compares each image with the true one, pixel by pixel and window by window.

    Args:
        images: float [n, height, width, channels] in [0, 1], n at least 1, 7 pixels or more high
            and wide.
        truth: the same.

    Returns:
        Means over the images: "l1", the mean absolute difference, in [0, 1]; "psnr", the peak
        signal-to-noise ratio in decibels, which is set to 100 for equal images; "ssim", the
        structural similarity (Wang et al. 2004, 10.1109/TIP.2003.819861; windows of 7x7), in
        [-1, 1].

    Raises:
        ValueError: the shapes differ, or there are no images.
    """
    if images.shape != truth.shape or images.ndim != 4 or not len(images):
        raise ValueError(
            f"images and truth must have one shape (n, height, width, channels), "
            f"not {images.shape} and {truth.shape}"
        )
    found = []
    pairs = (np.asarray(each, np.float64) for each in (images, truth))
    for image, true in zip(*pairs, strict=True):
        is_same = np.array_equal(image, true)
        found.append(
            (
                np.abs(image - true).mean(),
                _MOST_PSNR if is_same else peak_signal_noise_ratio(true, image, data_range=1),
                structural_similarity(true, image, data_range=1, channel_axis=-1),
            )
        )
    return dict(zip(("l1", "psnr", "ssim"), map(float, np.mean(found, axis=0)), strict=True))
