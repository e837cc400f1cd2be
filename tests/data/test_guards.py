"""Hostile files of a data set run no code."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from jaxgan import data
from jaxgan.data import tfds

pytest.importorskip("tensorflow_datasets")


@pytest.mark.parametrize("legacy", [False, True])
def test_no_module_is_imported_that_a_data_set_names(tmp_path, monkeypatch, legacy):
    trace = tmp_path / "trace"
    (tmp_path / "trap.py").write_text(f"open({str(trace)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "data" / "trapped" / "1.0.0"
    folder.mkdir(parents=True)
    info = {"name": "trapped", "version": "1.0.0", "fileFormat": "array_record", "splits": []}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    features = {"pythonClassName": "trap.Feature", "featuresDict": {"features": {}}}
    if legacy:
        features = {"type": "trap.Feature", "content": {}}
    (folder / "features.json").write_text(json.dumps(features))
    with pytest.raises(ValueError) as error:
        data.load("trapped", data_dir=tmp_path / "data")
    line = str(error.value)
    assert "'trap.Feature' is no feature of TensorFlow Datasets" in line
    assert len(line.splitlines()) == 1 and len(line) < 1000
    assert not trace.exists()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "EPS"])
def test_images_that_are_programs_are_not_run(monkeypatch, kind):
    run = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: run.append(1))
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(buffer, kind)

    class Records(list):
        def __getitems__(self, indices):
            return [self[i] for i in indices]

    builder = SimpleNamespace(
        as_data_source=lambda **_: Records([{"image": buffer.getvalue()}]),
        info=SimpleNamespace(features={"image": SimpleNamespace(shape=(8, 8, 3))}),
    )
    no_codes = np.zeros((1, 0), np.int32)
    read = tfds._pictures(builder, "some", "train", "image", [], no_codes, "remove it")
    if kind == "EPS":
        with pytest.raises(ValueError, match="some is damaged"):
            list(read)
        assert not run
    else:
        (picture,) = read
        assert np.asarray(picture).min() == 255


@pytest.mark.parametrize("channels", [1, 3, None])
def test_deep_pictures_are_read_by_their_range(channels):
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), 32896, np.uint16)).save(buffer, "PNG")

    class Records(list):
        def __getitems__(self, indices):
            return [self[i] for i in indices]

    builder = SimpleNamespace(
        as_data_source=lambda **_: Records([{"image": buffer.getvalue()}]),
        info=SimpleNamespace(features={"image": SimpleNamespace(shape=(8, 8, channels))}),
    )
    no_codes = np.zeros((1, 0), np.int32)
    (picture,) = tfds._pictures(builder, "some", "train", "image", [], no_codes, "remove it")
    assert (np.asarray(picture) == 128).all()
