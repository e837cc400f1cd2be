"""Every picture of a user is read by the range of its format, or refused in one line."""

import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import PIL
import pytest
from PIL import EpsImagePlugin, Image

from jaxgan.data.pictures import FORMATS, decode, read_picture

SIZE = (24, 24)
GREY = 128


def of_grey(mode):
    """A picture that is half grey all over, in one of Pillow's modes."""
    if mode == "I;16":
        return Image.fromarray(np.full(SIZE, GREY * 257, np.uint16))
    if mode == "I":
        return Image.new("I", SIZE, GREY * 257)
    if mode == "F":
        return Image.new("F", SIZE, GREY / 255)
    if mode == "PA":
        return Image.new("LA", SIZE, (GREY, 255)).convert("PA")
    if mode == "1":  # Every second pixel is white.
        return Image.fromarray(np.indices(SIZE).sum(0) % 2 == 1)
    return Image.new("RGBA", SIZE, (GREY, GREY, GREY, 255)).convert(mode)


# The modes that Pillow writes in each format as they are.
WRITTEN = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "JPEG": ["L", "RGB", "CMYK", "YCbCr"],
    "MPO": ["L", "RGB"],
    "GIF": ["1", "L", "P", "RGB", "RGBA"],
    "BMP": ["1", "L", "P", "RGB", "RGBA"],
    "DIB": ["1", "L", "P", "RGB"],
    "TIFF": ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"],
    "WEBP": ["L", "RGB", "RGBA"],
    "AVIF": ["L", "RGB", "RGBA"],
    "JPEG2000": ["L", "LA", "RGB", "RGBA", "CMYK", "I;16"],
    "PPM": ["1", "L", "RGB", "RGBA", "I", "I;16", "F"],
    "TGA": ["1", "L", "LA", "P", "RGB", "RGBA"],
    "QOI": ["RGB", "RGBA"],
    "ICO": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "ICNS": ["L", "RGB", "RGBA"],
    "DDS": ["L", "LA", "RGB", "RGBA"],
    "PCX": ["1", "L", "P", "RGB"],
    "SGI": ["L", "RGB", "RGBA"],
}

# Pillow 10 writes these wrongly, or not at all.
UNWRITTEN = (
    *(("TIFF", "YCbCr"), ("TIFF", "PA"), ("JPEG2000", "CMYK"), ("PPM", "I;16"), ("ICO", "I;16")),
)


def check_written(kind, mode):
    """Skips a test of a file that this Pillow cannot write."""
    Image.init()
    if kind not in Image.SAVE or (PIL.__version__ < "11" and (kind, mode) in UNWRITTEN):
        pytest.skip(f"this Pillow writes no {kind} of {mode}")


def test_every_format_is_tried():
    assert WRITTEN.keys() == set(FORMATS)


@pytest.mark.parametrize(
    ("kind", "mode"), [(kind, mode) for kind, modes in WRITTEN.items() for mode in modes]
)
def test_half_grey_stays_half_grey(tmp_path, kind, mode):
    check_written(kind, mode)
    of_grey(mode).save(tmp_path / "a", kind)
    picture, done = read_picture(tmp_path / "a")
    assert picture.mode in ("L", "RGB") and type(picture) is Image.Image
    given = np.asarray(picture, float)
    if mode == "1":
        assert set(np.unique(given)) == {0, 255} and given.mean() == 127.5
    else:
        assert np.abs(given - GREY).max() <= (3 if kind in ("JPEG", "MPO", "AVIF") else 1)
    assert done[0].endswith((mode, "L", "RGB", "RGBA", "P", "1", "I", "I;16"))


@pytest.mark.parametrize("maxval", [1, 2, 15, 100, 255, 256, 1023, 4095, 32768, 65535])
@pytest.mark.parametrize("magic", ["P2", "P5", "P3", "P6"])
def test_the_maxval_of_a_netpbm_file_is_white(tmp_path, magic, maxval):
    values = np.arange(24) * maxval // 23
    is_colour = magic in ("P3", "P6")
    numbers = np.repeat(values, 3) if is_colour else values
    head = f"{magic}\n6 4\n{maxval}\n".encode()
    if magic in ("P2", "P3"):
        body = " ".join(map(str, numbers)).encode()
    else:
        body = numbers.astype(">u2" if maxval > 255 else "u1").tobytes()
    (tmp_path / "a.pnm").write_bytes(head + body)
    given = np.asarray(read_picture(tmp_path / "a.pnm")[0], float)
    assert given.shape == ((4, 6, 3) if is_colour else (4, 6))
    expected = (values * 255 / maxval).reshape(4, 6)
    assert np.abs(given - (expected[..., None] if is_colour else expected)).max() <= 0.51


def tiff(values, *, bits=None, photometric=1, sample_format=None, order="<"):
    """A TIFF of one grey strip, which has tags that Pillow does not write."""
    kinds = {"u": 1, "i": 2, "f": 3}
    bits = bits or 8 * values.dtype.itemsize
    sample_format = sample_format or kinds[values.dtype.kind]
    height, width = values.shape
    if bits == 12:
        flat = values.reshape(-1, 2).astype(int)
        pairs = [flat[:, 0] >> 4, (flat[:, 0] & 15) << 4 | flat[:, 1] >> 8, flat[:, 1] & 255]
        body = np.stack(pairs, 1).astype(np.uint8).tobytes()
    else:
        body = values.astype(values.dtype.newbyteorder(order)).tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric)]
    tags += [(273, 8 + 2 + 12 * 10 + 4), (277, 1), (278, height), (279, len(body))]
    tags += [(339, sample_format)]
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags)
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", len(tags))
    return head + entries + struct.pack(order + "I", 0) + body


RAMP = np.linspace(0, 1, 64).reshape(8, 8)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("u1", {}),
        ("u1", {"photometric": 0}),
        ("u2", {}),
        ("u2", {"photometric": 0}),
        ("u2", {"order": ">"}),
        ("u2", {"bits": 12}),
        ("f4", {}),
        ("f4", {"photometric": 0}),
        ("f4", {"order": ">"}),
    ],
)
def test_the_range_of_a_tiff(kind, options):
    top = 2 ** options.get("bits", 8 * np.dtype(kind).itemsize) - 1 if kind != "f4" else 1
    stored = RAMP if options.get("photometric", 1) else 1 - RAMP
    values = (stored * top).round().astype(kind) if kind != "f4" else stored.astype(kind)
    picture, _ = decode(tiff(values, **options))
    assert picture.mode == "L"
    assert np.abs(np.asarray(picture, float) - 255 * RAMP).max() <= 1


@pytest.mark.parametrize("top", [0.5, 0.1])
def test_a_dark_picture_is_not_stretched(tmp_path, top):
    (tmp_path / "float.tiff").write_bytes(tiff((RAMP * top).astype("f4")))
    (tmp_path / "16.tiff").write_bytes(tiff((RAMP * top * 65535).astype("u2")))
    for path in tmp_path.iterdir():
        assert np.asarray(read_picture(path)[0]).max() == pytest.approx(255 * top, abs=1)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((8, 8), 2**30, "i4"), "signed numbers, which have no agreed white"),
        (np.full((8, 8), 128, "i4"), "signed numbers, which have no agreed white"),
        (np.full((8, 8), 100, "i2"), "signed numbers, which have no agreed white"),
        (np.full((8, 8), 100, "i1"), "signed numbers, which have no agreed white"),
        (np.full((8, 8), 2**31, "u4"), "whole numbers of 32 bits, which have no agreed white"),
        (np.full((8, 8), 128, "f4"), "has floats from 128 to 128: floats must be in [0, 1]"),
        (np.full((8, 8), -0.5, "f4"), "has floats from -0.5 to -0.5"),
        (np.full((8, 8), np.nan, "f4"), "has numbers that are NaN or infinite"),
        (np.where(RAMP > 0.9, np.inf, 0.5).astype("f4"), "has numbers that are NaN or infinite"),
    ],
)
def test_numbers_without_a_range_are_refused(tmp_path, values, said):
    (tmp_path / "a.tiff").write_bytes(tiff(values))
    with pytest.raises(ValueError) as error:
        read_picture(tmp_path / "a.tiff")
    assert str(error.value).startswith(f"{tmp_path / 'a.tiff'} has ")
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_float_map_with_nan(tmp_path):
    values = np.full(SIZE, 0.5, np.float32)
    values[3, 4] = np.nan
    Image.fromarray(values).save(tmp_path / "a.pfm")
    with pytest.raises(ValueError, match="NaN or infinite"):
        read_picture(tmp_path / "a.pfm")


def png(kind, depth, transparent, rows):
    """A PNG of rows of packed pixels, with a transparent grey or colour."""

    def chunk(name, content):
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    width = {1: 8, 2: 4, 4: 2, 8: 2, 16: 2}[depth]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), depth, kind, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    alpha = chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
    return b"\x89PNG\r\n\x1a\n" + head + alpha + data + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "depth", "transparent", "row", "expected"),
    [
        (0, 16, (1000,), struct.pack(">HH", 1000, 32896), (255, 128)),
        (0, 16, (0,), struct.pack(">HH", 32896, 0), (128, 255)),
        (0, 8, (7,), bytes([7, 128]), (255, 128)),
        (0, 4, (7,), bytes([0x78]), (255, 136)),
        (0, 2, (2,), bytes([0b10_01_00_11]), (255, 85, 0, 255)),
        (0, 1, (0,), bytes([0b01010101]), (255,) * 8),
        (2, 8, (7, 7, 7), bytes([7, 7, 7, 128, 128, 128]), (255, 128)),
        (2, 16, (0x8123,) * 3, struct.pack(">6H", *[0x8123] * 3, *[0x4040] * 3), (255, 64)),
        (2, 16, (0x8100,) * 3, struct.pack(">6H", *[0] * 3, *[0x4040] * 3), (0, 64)),
    ],
)
def test_a_transparent_grey_or_colour_of_a_png(tmp_path, kind, depth, transparent, row, expected):
    (tmp_path / "a.png").write_bytes(png(kind, depth, transparent, [row]))
    picture, done = read_picture(tmp_path / "a.png")
    given = np.asarray(picture.convert("L"), int)[0]
    assert np.abs(given - np.array(expected)).max() <= 1
    assert done[-1] == "put on white"


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "TGA", "WEBP", "JPEG2000"])
def test_transparent_parts_are_white(tmp_path, kind, mode):
    check_written(kind, mode)
    picture = Image.new("RGBA", SIZE, (0, 0, 0, 0)).convert(mode)
    try:
        picture.save(tmp_path / "a", kind, **({"lossless": True} if kind == "WEBP" else {}))
    except OSError:
        pytest.skip(f"Pillow writes no {kind} of {mode}")
    if (kind, mode) == ("WEBP", "PA"):
        pytest.skip("Pillow drops the alpha when it writes it")
    assert (np.asarray(read_picture(tmp_path / "a")[0]) == 255).all()


@pytest.mark.parametrize("kind", ["EPS", "PDF", "SPIDER"])
def test_formats_that_run_programs_or_have_no_range_are_refused(tmp_path, monkeypatch, kind):
    run = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: run.append(1))
    # Pillow gives the name's ending to SPIDER, where it is asked to save under a name.
    buffer = io.BytesIO()
    Image.new("L", SIZE, GREY).save(buffer, kind)
    (tmp_path / "face.png").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="is not an image that Pillow reads"):
        read_picture(tmp_path / "face.png")
    assert not run


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_pipes_folders_and_devices_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", tmp_path, "/dev/zero"):
        code = (
            "import sys; from jaxgan.data.pictures import read_picture; read_picture(sys.argv[1])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60
        )
        assert "cannot be read as an image: is no regular file" in done.stderr


def test_a_huge_sparse_file_is_not_read(tmp_path):
    Image.new("L", SIZE, GREY).save(tmp_path / "a.bmp")
    with open(tmp_path / "a.bmp", "r+b") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="has more than 268,435,456 bytes"):
        read_picture(tmp_path / "a.bmp")


def test_a_damaged_picture_of_each_format(tmp_path, subtests):
    Image.init()
    for kind in FORMATS:
        buffer = io.BytesIO()
        try:
            Image.effect_noise((64, 64), 90).convert("RGB").save(buffer, kind)
        except (KeyError, OSError):
            continue
        for length in (5, 20, 60, len(buffer.getvalue()) // 2):
            (tmp_path / "a").write_bytes(buffer.getvalue()[:length])
            with subtests.test(kind=kind, length=length):
                try:
                    read_picture(tmp_path / "a")
                except ValueError as error:
                    assert str(error).startswith(str(tmp_path / "a"))
                    assert "\n" not in str(error)
