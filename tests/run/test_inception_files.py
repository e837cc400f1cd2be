"""The files of an FID: weights, statistics and folders of pictures, whole, damaged and hostile."""

import io
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given
from mutations import assert_one_line, examples, mutated
from PIL import Image

from jaxgan import weights
from jaxgan.metrics import inception_v3
from jaxgan.metrics.frechet import Moments
from jaxgan.metrics.scoring import Embedding
from jaxgan.run import inception_files
from jaxgan.run.inception_files import Source

SMALL = 3


@pytest.fixture
def few_features(monkeypatch):
    monkeypatch.setattr(inception_files, "NUM_FEATURES", SMALL)


@pytest.fixture
def two_weights(monkeypatch):
    """The network has two variables."""
    shapes = {("stem", "kernel"): (1, 1, 2, 3), ("stem", "bias"): (3,), ("fc", "kernel"): (3, 4)}
    monkeypatch.setattr(inception_v3, "_shapes", lambda: shapes)
    rng = np.random.default_rng(0)
    norm = ("weight", "bias", "running_mean", "running_var")
    return {
        "stem.conv.weight": rng.random((3, 2, 1, 1), np.float32),
        **{f"stem.bn.{part}": rng.random(3, np.float32) for part in norm},
        "fc.weight": rng.random((4, 3), np.float32),
    }


def test_weights_are_written_once_and_read_back(two_weights, tmp_path):
    variables = inception_v3.variables_of(two_weights)
    weights.write(tmp_path / "w.npz", variables)
    read = inception_files.read_weights(tmp_path / "w.npz")
    for name, leaf in variables["params"]["stem"].items():
        np.testing.assert_array_equal(read["params"]["stem"][name], leaf)


def test_weights_are_read_from_pytorch(two_weights, tmp_path):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(x) for name, x in two_weights.items()}
    tensors |= {"stem.bn.num_batches_tracked": torch.tensor(3), "fc.bias": torch.ones(4)}
    expected = inception_v3.variables_of(two_weights)["params"]
    for is_zip in (True, False):
        path = tmp_path / f"{is_zip}.pth"
        torch.save(tensors, path, _use_new_zipfile_serialization=is_zip)
        read = inception_files.read_weights(path)["params"]
        np.testing.assert_array_equal(read["stem"]["kernel"], expected["stem"]["kernel"])
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(ValueError) as told:
            inception_files.read_weights(path)
        assert_one_line(told.value, path)


class Hostile:
    def __reduce__(self):
        return print, ("it ran",)


def test_a_pickle_that_runs_does_not_run(two_weights, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    path = tmp_path / "w.pth"
    for content in ({"stem.conv.weight": Hostile()}, [1, 2], {"a": 3}):
        torch.save(content, path)
        with pytest.raises(ValueError, match="is not the weights of FID's Inception-V3") as told:
            inception_files.read_weights(path)
        assert_one_line(told.value, path)
    assert "it ran" not in capsys.readouterr().out


def test_an_archive_that_unpacks_to_more_is_refused(two_weights, tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data/0", bytes(1 << 20))
    with pytest.raises(ValueError, match="it claims 1,048,576 bytes, more than it has"):
        inception_files.read_weights(path)


def test_without_pytorch_one_line_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "w.pth").write_bytes(b"weights")
    with pytest.raises(ImportError, match="pip install torch; or .* --save-inception") as told:
        inception_files.read_weights(tmp_path / "w.pth")
    assert_one_line(told.value, tmp_path / "w.pth")


@pytest.mark.parametrize("read", [inception_files.read_weights, inception_files.read_statistics])
def test_files_that_are_none(read, tmp_path):
    path = tmp_path / "w.npz"
    with pytest.raises(FileNotFoundError, match="w.npz is not there"):
        read(path)
    path.mkdir()
    with pytest.raises(ValueError, match="is no regular file"):
        read(path)
    path.rmdir()
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="has 1,099,511,627,776 bytes, more than any"):
        read(path)
    for content in (b"", b"weights", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(ValueError) as told:
            read(path)
        assert_one_line(told.value, path)


def test_weights_of_another_network(two_weights, tmp_path):
    path = tmp_path / "w.npz"
    weights.write(path, {"params": {"stem": {"bias": np.zeros(3)}}})
    with pytest.raises(ValueError, match="not the weights of FID's Inception-V3: there is no par"):
        inception_files.read_weights(path)


STATISTICS = Moments(np.arange(SMALL) / 7, np.eye(SMALL) + 1 / 3)


def packed(save=np.savez, **arrays):
    file = io.BytesIO()
    save(file, **{"mu": STATISTICS.mean, "sigma": STATISTICS.covariance} | arrays)
    return file.getvalue()


def test_statistics_come_back(few_features, tmp_path):
    path = tmp_path / "s.npz"
    inception_files.write_statistics(path, STATISTICS)
    with np.load(path) as arrays:
        assert set(arrays) == {"mu", "sigma"} and arrays["sigma"].dtype == np.float64
    # As pytorch-fid writes them; and in the order of columns.
    for content in (
        path.read_bytes(),
        packed(np.savez_compressed),
        packed(sigma=np.asfortranarray(STATISTICS.covariance)),
    ):
        path.write_bytes(content)
        for read, expected in zip(inception_files.read_statistics(path), STATISTICS, strict=True):
            np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mu": np.zeros(4)}, r"mu is float64 of the shape \(4,\), not float64 of \(3,\)"),
        ({"sigma": np.zeros(3)}, "sigma is float64 of the shape"),
        ({"mu": np.zeros(3, int)}, "mu is int64"),
        ({"mu": np.array([1, np.inf, 0])}, "mu has numbers that are NaN or infinite"),
        ({"sigma": np.arange(9.0).reshape(3, 3)}, "sigma is not symmetric"),
        ({"mu": np.array([{}] * 3)}, "mu is object"),
    ],
)
def test_what_are_no_statistics(few_features, tmp_path, arrays, message):
    path = tmp_path / "s.npz"
    path.write_bytes(packed(**arrays))
    with pytest.raises(ValueError, match=f"holds no statistics mu and sigma: {message}"):
        inception_files.read_statistics(path)


@examples(60)
@given(content=mutated([packed(), packed(np.savez_compressed)]))
def test_damaged_statistics_are_read_or_refused_in_one_line(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "s.npz"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception_files, "NUM_FEATURES", SMALL)
        try:
            inception_files.read_statistics(path)
        except ValueError as error:
            assert_one_line(error, path)


@pytest.fixture
def folder(tmp_path):
    """Ten pictures of several sizes and kinds, and what is none."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for i in range(10):
        shape = (5 + i, 7) if i % 3 == 0 else (299, 299, 3) if i == 4 else (9, 6 + i, 3)
        place = folder / "more" if i > 6 else folder
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(place / f"{i}.png")
    for name in ("about.txt", ".hidden.png", "0.npz"):
        (folder / name).write_text("no picture")
    return folder


def test_pictures_are_found_in_all_folders(folder):
    (folder / "LAST.JPG").write_bytes(b"")
    names = [str(path.relative_to(folder)) for path in inception_files.find_pictures(folder)]
    assert names == sorted([f"{i}.png" for i in range(7)] + ["LAST.JPG"]) + [
        f"more/{i}.png" for i in (7, 8, 9)
    ]


@pytest.mark.parametrize("how", ["bilinear", "antialiased"])
def test_pictures_of_any_size_make_batches(folder, how):
    paths = inception_files.find_pictures(folder)
    batches = list(inception_files.read_pictures(paths, how, 4))
    assert [batch.shape for batch in batches] == [(n, 299, 299, 3) for n in (4, 4, 2)]
    assert {batch.dtype for batch in batches} == {np.dtype(np.float32)}
    for path, image in zip(paths, np.concatenate(batches), strict=True):
        held = np.asarray(Image.open(path), np.float32) / 255
        held = held[..., None].repeat(3, axis=-1) if held.ndim == 2 else held
        np.testing.assert_allclose(image, inception_v3.resize(held[None], how)[0], atol=1e-6)


def test_no_more_than_a_batch_is_read_ahead(folder, monkeypatch):
    begun = []
    read = inception_files.read_picture
    monkeypatch.setattr(
        inception_files, "read_picture", lambda path: begun.append(path) or read(path)
    )
    batches = inception_files.read_pictures(inception_files.find_pictures(folder), "bilinear", 2)
    next(batches)
    assert len(begun) <= 4
    batches.close()


def test_a_folder_that_is_none_has_none_or_few(tmp_path):
    with pytest.raises(ValueError, match="x is no folder of pictures"):
        Source.of_folder(tmp_path / "x", "bilinear")
    with pytest.raises(ValueError, match=r"has no pictures \(.png, .jpg and so on\)"):
        Source.of_folder(tmp_path, "bilinear")
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="has 1 pictures: scores want 10 or more"):
        Source.of_folder(tmp_path, "bilinear")


def test_a_network_embeds_batch_by_batch(folder, monkeypatch):
    monkeypatch.setattr(
        inception_files,
        "evaluator",
        lambda variables, how, devices: lambda x: Embedding(x.mean((1, 2)), x.max((1, 2))),
    )
    network = inception_files.Network({}, "bilinear", [None] * 5)
    seen = []
    images = np.random.default_rng(0).integers(0, 256, (80, 4, 4, 3), np.uint8)
    found = network.embed(Source.of_array("", images), seen.append)
    assert seen == [35, 35, 10]
    np.testing.assert_allclose(found.features, images.mean((1, 2)) / 255, rtol=1e-5)
    source = Source.of_folder(folder, "bilinear")
    assert (source.count, source.name) == (10, f"pictures of {folder}")
    assert network.embed(source).probabilities.shape == (10, 3)
