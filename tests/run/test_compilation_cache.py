import os
import subprocess
import sys
import time

import jax
import pytest

from jaxgan.run import compilation_cache

CODE = """

from jaxgan.run import compilation_cache
import jax
before = dict(jax.config.values)
with compilation_cache.in_use():
    print(jax.jit(lambda x: x * 3 + 1)(1.0))
    print(jax.config.jax_compilation_cache_dir)
assert dict(jax.config.values) == before
"""


def process(home, code=CODE, **environment):
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR")
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "JAX_PLATFORMS": "cpu", "HOME": str(home), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done


def entries(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*-cache")}


def test_a_broken_entry_is_replaced_and_others_stay(tmp_path):
    process(tmp_path)
    cache = tmp_path / ".cache" / "jaxgan"
    whole = entries(cache)
    assert whole
    for name, content in whole.items():
        (cache / name).write_bytes(content[: len(content) // 2])
    other = cache / "something-else"
    other.write_bytes(b"not JAX's")
    done = process(tmp_path)
    assert "4.0" in done.stdout
    assert "rror reading persistent" not in done.stderr
    assert entries(cache).keys() == whole.keys()
    assert all(len(content) > len(whole[name]) / 2 for name, content in entries(cache).items())
    assert other.exists()


def test_only_entries_since_the_last_check_are_read(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(compilation_cache, "_is_whole", lambda entry, _: read.append(entry.name))
    (tmp_path / "a-cache").write_bytes(b"")
    compilation_cache.remove_broken(tmp_path)
    assert read == ["a-cache"]
    long_ago = time.time() - 3600
    for name in ("b-cache", "c-cache"):
        (tmp_path / name).write_bytes(b"")
    os.utime(tmp_path / "b-cache", (long_ago, long_ago))
    compilation_cache.remove_broken(tmp_path)
    assert read == ["a-cache", "c-cache"]


def test_another_jax_has_its_cache_left_alone(tmp_path, monkeypatch):
    (tmp_path / "a-cache").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "jax._src.compilation_cache", None)
    compilation_cache.remove_broken(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a-cache"]


def test_a_folder_that_is_missing_or_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    compilation_cache.remove_broken(tmp_path / "none")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a-cache").write_bytes(b"")
    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    compilation_cache.remove_broken(tmp_path)


@pytest.mark.parametrize("caches", ["", "relative/folder"])
def test_a_user_without_a_home_folder_has_no_cache(caches, tmp_path):
    code = (
        "import os, pwd\n"
        "def nobody(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = nobody\n"
        "del os.environ['HOME']\n" + CODE
    )
    done = process(tmp_path, code, XDG_CACHE_HOME=caches)
    assert done.stdout.split() == ["4.0", "None"]
    assert list(tmp_path.iterdir()) == []


def test_what_the_user_has_set_stays():
    before = jax.config.jax_compilation_cache_dir
    assert before is not None  # Of the tests.
    with compilation_cache.in_use():
        assert jax.config.jax_compilation_cache_dir == before
    assert jax.config.jax_compilation_cache_dir == before


def test_what_is_compiled_afterwards_is_not_kept(tmp_path):
    after = (
        "from pathlib import Path\n"
        "folder = Path.home() / '.cache' / 'jaxgan'\n"
        "kept = {*folder.glob('*-cache')}\n"
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)\n"
        "print(jax.jit(lambda x: x * 5 - 2)(1.0))\n"
        "assert kept and kept == {*folder.glob('*-cache')}\n"
    )
    assert "3.0" in process(tmp_path, CODE + after).stdout
