from importlib import resources

import numpy as np
import pytest

from jaxgan import weights


def test_nested_variables_come_back_without_pickle(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    variables = {"a": {"params": {"Dense_0": {"kernel": rng.normal(size=(3, 2))}}}}
    (tmp_path / "embedded").mkdir()
    path = tmp_path / "embedded" / "some.npz"
    weights.write(path, variables, np.float16)
    with np.load(path, allow_pickle=False) as stored:
        assert stored.files == ["a/params/Dense_0/kernel"]
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    kernel = weights.read_embedded("some.npz")["a"]["params"]["Dense_0"]["kernel"]
    assert kernel.dtype == np.float32
    rounded = variables["a"]["params"]["Dense_0"]["kernel"].astype(np.float16)
    np.testing.assert_array_equal(kernel, rounded)


def test_a_file_that_cannot_be_written_is_as_it_was(tmp_path):
    path = tmp_path / "some.npz"
    path.write_bytes(b"before")
    with pytest.raises(ValueError):
        weights.write(path, {"a": np.array(["no number"])})
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
