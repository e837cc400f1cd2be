"""experiments/translate.py on a run that is only a checkpoint and a config, and on all images."""

import json
import os
import struct
import zlib

import jax
import numpy as np
import pytest
from PIL import Image
from small_run import first_state, save_run

import jaxgan
from jaxgan.run import images
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.pix2pix.config import Pix2PixConfig
from jaxgan.systems.pix2pix.tasks import edges

GREY, COLOUR = (16, 16, 1), (16, 16, 3)


def noise(*shape, dtype=np.uint8):
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def luminance(image):
    return np.asarray(image, float) @ (0.299, 0.587, 0.114)


def save_with_large_weights(config, workdir):
    """A run that has learnt nothing, whose images are not all grey."""
    state, rng = first_state(config), np.random.default_rng(0)
    averages = jax.tree.map(
        lambda x: rng.normal(scale=0.3, size=x.shape).astype(np.float32), state.averages
    )
    save_run(config, workdir, state.replace(averages=averages))


@pytest.fixture
def trained(tmp_path):
    config = Pix2PixConfig(workdir=str(tmp_path / "run"), image_shape=COLOUR, width=2)
    save_with_large_weights(config, tmp_path / "run")
    return config


@pytest.fixture(scope="module")
def read():
    return images.read_fitted


def made_by(run, image, seed=0):
    params = jaxgan.load_params(run.workdir)
    key = jax.random.key(seed)
    (made,) = jaxgan.translate(params, image[None], key, generator=run.generator())
    return np.rint(np.asarray(made) * 255)


def pixels(path):
    """What was written, each pixel of which is 4x4."""
    with Image.open(path) as picture:
        array = np.asarray(picture, int)
    assert array.shape == (64, 64, 3)
    np.testing.assert_array_equal(array, array[::4, ::4].repeat(4, 0).repeat(4, 1))
    return array[::4, ::4]


def test_what_jaxgan_translate_makes_of_the_image(call_script, trained, tmp_path):
    drawing = noise(16, 20)
    Image.fromarray(drawing).save(tmp_path / "drawing.png")
    command = ("translate.py", "--workdir", "run", "--in", "drawing.png", "--out")
    done = call_script(*command, "new/face.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "drawing.png: PNG, 20x16, L, centre-cropped",
        "16x16 in new/face.png, each pixel 4x4",
    ]
    given = pixels(tmp_path / "new" / "face.png")
    assert np.abs(given - made_by(trained, drawing[:, 2:18, None])).max() <= 1
    assert given.std() > 10
    assert call_script(*command, "again.png").returncode == 0
    assert call_script(*command, "other.png", "--seed", 1).returncode == 0
    np.testing.assert_array_equal(pixels(tmp_path / "again.png"), given)
    other = pixels(tmp_path / "other.png")
    assert np.abs(other - made_by(trained, drawing[:, 2:18, None], seed=1)).max() <= 1
    assert np.abs(other - given).max() > 5


def test_a_photo_is_first_made_a_drawing(call_script, trained, tmp_path):
    photo = np.full((16, 16, 3), 255, np.uint8)
    photo[4:12, 5:13] = (200, 30, 30)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    done = call_script(
        *("translate.py", "--workdir", "run", "--in", "photo.png", "--from-photo"),
        *("--out", "face.png"),
    )
    assert done.returncode == 0, done.stderr
    assert "photo.png: PNG, 16x16, RGB, made black lines on white" in done.stdout
    expected = made_by(trained, edges(photo[None])[0])
    assert np.abs(pixels(tmp_path / "face.png") - expected).max() <= 1


def test_an_alpha_channel_is_put_on_white(read, tmp_path):
    image = noise(16, 16, 4)
    Image.fromarray(image).save(tmp_path / "a.png")
    given, done = read(tmp_path / "a.png", COLOUR)
    alpha = image[..., 3:] / 255
    np.testing.assert_allclose(given, alpha * image[..., :3] + (1 - alpha) * 255, atol=1.5)
    assert done == ["PNG, 16x16, RGBA", "put on white"]
    given, done = read(tmp_path / "a.png", GREY)
    on_white = luminance(alpha * image[..., :3] + (1 - alpha) * 255)
    np.testing.assert_allclose(given[..., 0], on_white, atol=2.5)
    assert done[-1] == "grey by luminance"


def test_sixteen_bits_are_brought_to_eight(read, tmp_path):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(levels * 257).save(tmp_path / "a.png")
    given, done = read(tmp_path / "a.png", GREY)
    assert done == ["PNG, 16x16, I;16", "brought to 8 bits"]
    np.testing.assert_array_equal(given[..., 0], levels)


@pytest.mark.parametrize("kind", ["JPEG", "BMP", "TIFF", "PPM", "TGA", "QOI", "JPEG2000", "WEBP"])
@pytest.mark.parametrize("shape", [COLOUR, GREY])
def test_a_picture_that_needs_no_change(read, tmp_path, kind, shape):
    image = np.full(COLOUR if kind in ("QOI", "WEBP") else shape, 128, np.uint8)
    Image.fromarray(image.squeeze()).save(tmp_path / "a.png", kind)
    given, _ = read(tmp_path / "a.png", shape)
    assert given.shape == shape and given.dtype == np.uint8
    assert np.abs(given.astype(int) - 128).max() <= 1


def test_floats_are_brought_to_eight_bits(read, tmp_path):
    levels = np.arange(256, dtype=np.float32).reshape(16, 16) / 255
    Image.fromarray(levels).save(tmp_path / "a.tiff")
    given, done = read(tmp_path / "a.tiff", GREY)
    assert "brought to 8 bits" in done
    np.testing.assert_array_equal(given[..., 0], np.rint(255 * levels))


def test_the_first_frame_of_a_gif_of_a_palette(read, tmp_path):
    colours = np.array([[200, 10, 10], [10, 200, 10], [10, 10, 200], [90, 90, 90]], np.uint8)
    images = colours[noise(2, 16, 16) % 4]
    first, second = (Image.fromarray(image).quantize(4) for image in images)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    given, done = read(tmp_path / "a.gif", COLOUR)
    assert done[0].startswith("GIF, 16x16, ") and "its first frame" in done
    np.testing.assert_allclose(given, images[0], atol=8)


def test_a_picture_of_a_palette_with_a_transparent_colour(read, tmp_path):
    picture = Image.new("P", (16, 16), 1)
    picture.putpalette([0, 0, 0, 10, 20, 200])
    picture.paste(0, (0, 0, 8, 16))
    picture.save(tmp_path / "a.png", transparency=0)
    given, done = read(tmp_path / "a.png", COLOUR)
    assert "put on white" in done
    assert (given[:, :8] == 255).all() and (given[:, 8:] == (10, 20, 200)).all()


def test_the_colours_of_print(read, tmp_path):
    picture = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    picture.save(tmp_path / "a.jpg", quality=100)
    given, done = read(tmp_path / "a.jpg", COLOUR)
    assert done == ["JPEG, 16x16, CMYK"]
    np.testing.assert_allclose(given, np.broadcast_to([255, 0, 0], COLOUR), atol=6)


def test_black_and_white(read, tmp_path):
    dots = noise(16, 16) > 100
    Image.fromarray(dots).save(tmp_path / "a.png")
    given, done = read(tmp_path / "a.png", GREY)
    assert done == ["PNG, 16x16, 1"]
    np.testing.assert_array_equal(given[..., 0], np.where(dots, 255, 0))


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (3, lambda image: image[::-1, ::-1]),
        (6, lambda image: np.rot90(image, -1)),
        (8, lambda image: np.rot90(image)),
    ],
)
@pytest.mark.parametrize("size", [(32, 48), (32, 32)])
def test_a_photo_is_turned_as_the_camera_was(read, tmp_path, orientation, turn, size):
    image = np.zeros((*size, 3), np.uint8)
    image[: size[0] // 2, : size[1] // 2] = (250, 0, 0)
    image[size[0] // 2 :, : size[1] // 2] = (0, 0, 250)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    turned = turn(image)
    shape = (turned.shape[0] // 2, turned.shape[1] // 2, 3)
    given, done = read(tmp_path / "a.jpg", shape)
    expected = turned.reshape(shape[0], 2, shape[1], 2, 3).mean(axis=(1, 3))
    # But at the edges, where a JPEG is not itself.
    assert np.median(np.abs(given - expected)) <= 4 and np.abs(given - expected).mean() < 8
    assert "turned as the camera was" in done and done[-1] == "area-averaged"


def a_png_of(width, height):
    """No more than the head of one, of any size."""

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def broken(path, kind):
    if kind == "text.png":
        path.write_text("a face, please\n")
    elif kind == "empty.png":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind == "cut.png":
        Image.fromarray(noise(64, 64, 3)).save(path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "cut.jpg":
        Image.fromarray(noise(64, 64, 3)).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "huge.png":
        path.write_bytes(a_png_of(20_000, 20_000))
    elif kind == "nan.tiff":
        Image.fromarray(np.full((16, 16), np.nan, np.float32)).save(path)
    elif kind == "pipe.png":
        os.mkfifo(path)
    elif kind == "hollow.png":
        path.write_bytes(a_png_of(16, 16))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text.png", "is not an image that Pillow reads"),
        ("empty.png", "is not an image that Pillow reads"),
        ("folder", "cannot be read as an image"),
        ("nan.tiff", "--in nan.tiff has numbers that are NaN or infinite"),
        ("pipe.png", "--in pipe.png cannot be read as an image: is no regular file"),
        ("absent.png", "--in absent.png is not there"),
        ("cut.png", "--in cut.png "),
        ("cut.jpg", "--in cut.jpg "),
        ("hollow.png", "--in hollow.png "),
        ("huge.png", "--in huge.png is too large"),
    ],
)
def test_what_is_no_image_ends_in_one_line_and_writes_nothing(
    call_script, trained, tmp_path, kind, message
):
    broken(tmp_path / kind, kind)
    assert_refused(call_script, tmp_path, ("--in", kind), message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "face.jpg"), "--out must end in .png, not 'face.jpg'"),
        (("--seed", -1), "--seed must be from 0"),
        (("--workdir", "elsewhere"), "there is no run in elsewhere"),
        (("--out", "run/config.json/face.png"), "config.json"),
        (("--scale", 2), "unrecognized arguments"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(
    call_script, trained, tmp_path, arguments, message
):
    Image.fromarray(noise(16, 16)).save(tmp_path / "drawing.png")
    assert_refused(call_script, tmp_path, ("--in", "drawing.png", *arguments), message)


def assert_refused(call_script, tmp_path, arguments, message):
    before = sorted(tmp_path.rglob("*"))
    done = call_script("translate.py", "--workdir", "run", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("translate.py: error: ")
    assert message in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_that_makes_images_of_noise(call_script, tmp_path):
    config = DCGANConfig(workdir="run", image_shape=(8, 8, 1), width=2)
    save_run(config, tmp_path / "run")
    Image.fromarray(noise(16, 16)).save(tmp_path / "drawing.png")
    assert_refused(
        call_script, tmp_path, ("--in", "drawing.png"), "python experiments/sample.py --workdir run"
    )


@pytest.mark.parametrize("side", [2**14, 2**20])
def test_settings_that_claim_huge_images(call_script, trained, tmp_path, side):
    Image.fromarray(noise(16, 16)).save(tmp_path / "drawing.png")
    values = json.loads((tmp_path / "run" / "config.json").read_text())
    values["image_shape"] = [side, side, 3]
    (tmp_path / "run" / "config.json").write_text(json.dumps(values))
    assert_refused(call_script, tmp_path, ("--in", "drawing.png"), "which the generator wants")


def test_images_too_large_for_a_file(call_script, tmp_path):
    config = Pix2PixConfig(workdir="run", image_shape=(4096, 4096, 3), width=1)
    save_with_large_weights(config, tmp_path / "run")
    Image.fromarray(noise(16, 16)).save(tmp_path / "drawing.png")
    message = "images of 4096x4096x3 are too large for a .png of 4x4 a pixel"
    assert_refused(call_script, tmp_path, ("--in", "drawing.png"), message)
