"""Hostile and damaged checkpoints: each is read as it was saved or refused in one line."""

import json
import logging
import os
import shutil
import subprocess
import sys

import chex
import jax
import numpy as np
import optax
import pytest
import tensorstore
from hypothesis import given
from mutations import assert_one_line, deep, examples, mutated

import jaxgan
from jaxgan import game, training
from jaxgan.run.checkpoints import Checkpoints, restore_newest
from jaxgan.systems.latent.losses import latent_gan
from jaxgan.systems.mlp_gan import networks as mlp


def a_state(step=0, seed=7):
    """A small state, whose averaged parameters depend on its step."""
    gan = latent_gan(
        mlp.Generator(4, (8,), (4, 4, 1)),
        mlp.Discriminator((8,), (4, 4, 1)),
        optax.adam(1e-3),
        optax.adam(1e-3),
    )
    state = training.on_host(game.init(gan, jax.random.key(seed)))
    averages = jax.tree.map(lambda x: x + step, state.averages)
    return state.replace(step=np.int32(step), averages=averages)


@pytest.fixture
def workdir(tmp_path):
    """A run of two checkpoints, 10 and 20."""
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    for step in (10, 20):
        checkpoints.save(a_state(step), {})
    checkpoints.close()
    return tmp_path / "run"


def newest(workdir, item="generator"):
    return workdir / "checkpoints" / "20" / item


def edit(path, change):
    """Changes Orbax's list of variables."""
    listed = json.loads(path.read_text())
    change(listed)
    path.write_text(json.dumps(listed))


def store(item):
    """The key-value store that holds the arrays of an item."""
    spec = {"driver": "ocdbt", "base": f"file://{item}/"}
    return tensorstore.KvStore.open(spec).result()


KERNEL = "params.Dense_0.kernel"


def edit_array(item, name=KERNEL, **changes):
    """Changes the metadata of an array."""
    values = store(item)
    key = f"{name}/.zarray".encode()
    values[key] = json.dumps(json.loads(values[key]) | changes).encode()


def make_huge(item, name=KERNEL):
    """Makes an array claim four terabytes, of which the file holds nothing."""
    edit_array(item, name, shape=[2**20, 2**20], chunks=[2**10, 2**10])


def make_bomb(item, name=KERNEL):
    """Makes an array a gigabyte of zeros, all of which the file holds in some kilobytes."""
    edit_array(item, name, shape=[2**28], chunks=[2**20])
    values = store(item)
    spec = {"driver": "zarr", "kvstore": values.spec().to_json() | {"path": f"{name}/"}}
    zeros = tensorstore.open(spec | {"store_data_equal_to_fill_value": True}, open=True).result()
    zeros[: 2**20] = np.zeros(2**20, np.float32)
    chunk = values[f"{name}/0".encode()]
    assert len(chunk) < 1000
    for i in range(2**8):
        values[f"{name}/{i}".encode()] = chunk


def rename(keys):
    """A change that gives the first variable another name."""

    def change(listed):
        first = next(iter(listed["tree_metadata"].values()))
        first["key_metadata"] = [{"key": key, "key_type": 2} for key in keys]

    return change


def set_first(**changes):
    def change(listed):
        next(iter(listed["tree_metadata"].values()))["value_metadata"].update(changes)

    return change


def set_key_type(listed):
    next(iter(listed["tree_metadata"].values()))["key_metadata"][0]["key_type"] = 1


NOT_SAVED_SO = "_METADATA lists variables that no run saves so"
LISTS = {
    "escape": (rename(["..", "..", "secret"]), "'../../secret' is no name of a variable"),
    "escape in one": (rename(["../../secret"]), "'../../secret' is no name of a variable"),
    "absolute": (rename(["/etc", "secret"]), "'/etc/secret' is no name of a variable"),
    "empty": (rename(["params", ""]), "'params/' is no name of a variable"),
    "no name": (rename([]), "'' is no name of a variable"),
    "backslash": (rename(["a\\b"]), "is no name of a variable"),
    "nul": (rename(["a\0b"]), "is no name of a variable"),
    "deep": (rename(["a"] * 10_000), "more than 64 levels"),
    "number": (rename([1]), NOT_SAVED_SO),
    "twice": (rename(["params", "Dense_0", "kernel"]), "'params/Dense_0/kernel' is there twice"),
    "below": (rename(["params", "Dense_0", "kernel", "x"]), "is below that of another variable"),
    "list": (set_key_type, NOT_SAVED_SO),
    "plain files": (lambda listed: listed.update(use_ocdbt=False), NOT_SAVED_SO),
    "zarr 3": (lambda listed: listed.update(use_zarr3=True), NOT_SAVED_SO),
    "holes": (
        lambda listed: listed.update(store_array_data_equal_to_fill_value=False),
        NOT_SAVED_SO,
    ),
    "rich": (lambda listed: listed.update(value_metadata_tree="{}"), NOT_SAVED_SO),
    "text": (set_first(value_type="string"), NOT_SAVED_SO),
    "of jax": (set_first(value_type="jax.Array"), NOT_SAVED_SO),
    "scalar": (set_first(value_type="scalar"), NOT_SAVED_SO),
    "skipped": (set_first(skip_deserialize=True), NOT_SAVED_SO),
    "none": (lambda listed: listed.update(tree_metadata=[]), "is no list of variables"),
}


def assert_refused(workdir, said, caplog):
    """Reading takes checkpoint 10 in place of the newest, and the log says why in one line."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        params = jaxgan.load_params(workdir)
    chex.assert_trees_all_equal(params, a_state(10).averages["generator"])
    lines = [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()]
    assert len(lines) == 1
    assert_one_line(lines[0], "checkpoint 20 is damaged (", said)


def test_a_list_of_variables_that_no_run_saves(workdir, caplog, subtests):
    path = newest(workdir) / "_METADATA"
    saved = path.read_bytes()
    for name, (change, said) in LISTS.items():
        path.write_bytes(saved)
        edit(path, change)
        with subtests.test(name):
            assert_refused(workdir, said, caplog)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (deep(100_000).encode(), "_METADATA is no list of variables"),
        (b"{", "_METADATA is no list of variables"),
        (b"[]", "_METADATA is no list of variables"),
        (b"\xff\xfe", "_METADATA is no list of variables"),
        (b" " * (16 * 2**20 + 1), "_METADATA has more than 16,777,216 bytes"),
    ],
    ids=["deep", "cut", "list", "bytes", "long"],
)
def test_a_list_of_variables_that_is_none(workdir, caplog, content, said):
    (newest(workdir) / "_METADATA").write_bytes(content)
    assert_refused(workdir, said, caplog)


def test_a_file_of_an_older_orbax_is_not_opened(workdir, caplog):
    (newest(workdir) / "checkpoint").write_bytes(b"\x81\xa1a\x01")
    assert_refused(workdir, "none of a checkpoint's: checkpoint", caplog)


@pytest.mark.parametrize("absolute", [False, True])
def test_an_array_outside_is_not_read(workdir, tmp_path, caplog, absolute):
    outside = tmp_path / "secret"
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{outside}/"}}
    secret = tensorstore.open(spec, create=True, shape=[4, 8], dtype="float32").result()
    secret[...] = np.full((4, 8), 42, np.float32)
    name = str(outside) if absolute else "../../../../../secret"
    item = newest(workdir)

    def change(listed):
        listed["use_ocdbt"] = False
        rename([name])(listed)

    edit(item / "_METADATA", change)
    assert_refused(workdir, NOT_SAVED_SO, caplog)


def test_an_array_that_no_network_has(workdir, caplog, subtests):
    # The first versions of jaxgan saved no digests.
    shutil.rmtree(newest(workdir).parent / "digests")
    saved = workdir / "saved"
    shutil.copytree(newest(workdir), saved)
    for changes, said in (
        ({"dtype": "<c8"}, "is complex64, which nothing in a state is"),
        ({"dtype": "<i8"}, "is int64, which nothing in a state is"),
        ({"dtype": "|b1"}, "is bool, which nothing in a state is"),
        ({"dtype": "<i4"}, "it has parameters of int32, not float32"),
        ({"dtype": [["a", "<f4"], ["b", "<f4"]]}, ""),
        ({"chunks": [2**20, 2**20]}, "in chunks of (1048576, 1048576)"),
        ({"shape": [-1, 8]}, ""),
        ({"shape": [2**62, 2**62]}, ""),
        ({"shape": [1] * 33, "chunks": [1] * 33}, ""),
    ):
        shutil.rmtree(newest(workdir))
        shutil.copytree(saved, newest(workdir))
        edit_array(newest(workdir), **changes)
        with subtests.test(**changes):
            assert_refused(workdir, said, caplog)


@pytest.mark.parametrize("make", [make_huge, make_bomb])
def test_an_array_that_claims_too_much(workdir, caplog, make):
    make(newest(workdir))
    assert_refused(workdir, "bytes claim to be", caplog)


needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")


def files_of(workdir, *items):
    return sorted(
        path
        for item in items
        for path in newest(workdir, item).rglob("*")
        if path.is_file() and path.name != "commit_success.txt"
    )


@needs_pipes
def test_a_pipe_in_the_place_of_a_file_does_not_hang(workdir, caplog, subtests):
    for path in files_of(workdir, "generator", "digests"):
        saved = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        with subtests.test(str(path.relative_to(workdir))):
            assert_refused(workdir, "is no regular file", caplog)
        path.unlink()
        path.write_bytes(saved)


@needs_pipes
@pytest.mark.parametrize("name", ["_CHECKPOINT_METADATA", "config/metadata", "metrics/metrics"])
def test_a_pipe_does_not_hang_a_run_that_goes_on(workdir, name):
    path = newest(workdir, name)
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises(ValueError) as error:
        Checkpoints(workdir / "checkpoints").open()
    assert_one_line(error.value, "Orbax cannot open", "is no regular file")


@needs_pipes
def test_a_pipe_does_not_hang_who_asks_for_the_size_of_the_key(workdir):
    path = newest(workdir, "state/manifest.ocdbt")
    path.unlink()
    os.mkfifo(path)
    # The checkpoint before tells it.
    assert Checkpoints(workdir / "checkpoints").key_words() == 2


def test_a_link_that_leads_round_is_not_followed(workdir, caplog):
    (newest(workdir) / "round").symlink_to(newest(workdir), target_is_directory=True)
    assert_refused(workdir, "round is a link to a folder", caplog)


def test_a_sparse_file_is_not_read(workdir, caplog, subtests):
    for path in files_of(workdir, "generator"):
        size = path.stat().st_size
        os.truncate(path, 3 << 30)
        with subtests.test(str(path.relative_to(workdir))):
            is_data = path.parent.name == "d"
            said = "bytes claim to be" if is_data else f"{path.name} has more than 16,777,216 bytes"
            assert_refused(workdir, said, caplog)
        os.truncate(path, size)


def test_a_sparse_file_beside_makes_no_claim_believable(workdir, caplog):
    make_bomb(newest(workdir))
    shutil.rmtree(newest(workdir, "digests"))
    beside = newest(workdir) / "d" / "0"
    beside.touch()
    os.truncate(beside, 60 << 20)
    assert_refused(workdir, "bytes claim to be", caplog)


def save_with_system(workdir):
    checkpoints = Checkpoints(workdir / "checkpoints")
    checkpoints.save(a_state(20), {"system": "mlp_gan"})
    checkpoints.close()


@pytest.mark.parametrize("config", ["stays", "gone", "no JSON"])
def test_digests_that_were_saved_must_be_there(tmp_path, config):
    save_with_system(tmp_path)
    jaxgan.load_params(tmp_path)
    shutil.rmtree(newest(tmp_path, "digests"))
    if config == "gone":
        shutil.rmtree(newest(tmp_path, "config"))
    elif config == "no JSON":
        (newest(tmp_path, "config") / "metadata").write_text("{")
    lines = []
    with pytest.raises(ValueError, match="none of the checkpoints") as error:
        restore_newest([Checkpoints(tmp_path / "checkpoints")], a_state, lines.append)
    if config == "stays":
        assert "digests are missing" in str(error.value)
    with pytest.raises(ValueError, match="can be read"):
        jaxgan.load_params(tmp_path)


@pytest.mark.parametrize("make", [make_huge, make_bomb])
@pytest.mark.parametrize("item", ["state", "generator"])
def test_a_run_does_not_go_on_from_a_hostile_checkpoint(workdir, make, item):
    name = KERNEL if item == "generator" else f"discriminator.{KERNEL}"
    make(newest(workdir, item), name)
    lines = []
    (state,) = restore_newest([Checkpoints(workdir / "checkpoints")], a_state, lines.append)
    assert int(state.step) == 10
    (line,) = lines
    assert_one_line(line, "checkpoint 20 is damaged (", "params/Dense_0/kernel is float32", "not")


@pytest.mark.parametrize("item", ["state", "generator"])
@pytest.mark.parametrize("kind", ["more", "fewer"])
def test_a_run_does_not_go_on_with_other_variables(workdir, item, kind):
    def change(listed):
        entries = listed["tree_metadata"]
        if kind == "more":
            more = {"key_metadata": [{"key": "more", "key_type": 2}]}
            entries["('more',)"] = more | {
                "value_metadata": {"value_type": "Dict", "skip_deserialize": True}
            }
        else:
            del entries[next(reversed(entries))]

    edit(newest(workdir, item) / "_METADATA", change)
    lines = []
    (state,) = restore_newest([Checkpoints(workdir / "checkpoints")], a_state, lines.append)
    assert int(state.step) == 10
    (line,) = lines
    assert_one_line(line, "more is in it" if kind == "more" else "is not in it")


def test_the_memory_that_a_hostile_checkpoint_takes(workdir):
    """Runs a process of its own, since a process can tell only the most memory that it ever had."""
    for step, make in ((10, make_huge), (20, make_bomb)):
        make(workdir / "checkpoints" / str(step) / "generator")
        make(workdir / "checkpoints" / str(step) / "state", f"discriminator.{KERNEL}")
    code = """
import resource, sys
import jaxgan, jaxgan.run.checkpoints

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before = most()
for player in ("generator", "discriminator"):
    try:
        jaxgan.load_params(sys.argv[1], player=player)
    except ValueError as error:
        print(error)
print(most() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(workdir)], capture_output=True, text=True, timeout=120
    )
    *lines, kilobytes = done.stdout.splitlines()
    assert len(lines) == 2 and all("can be read" in line for line in lines), done.stderr
    assert int(kilobytes) < 200_000


# If several arrays cannot be opened, Orbax waits only for the first one.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_mutated_lists_of_variables(tmp_path_factory):
    """Changes bytes of the list that tells Orbax of an item's variables."""
    workdir = tmp_path_factory.mktemp("run")
    checkpoints = Checkpoints(workdir / "checkpoints")
    checkpoints.save(a_state(20), {})
    checkpoints.close()
    path = newest(workdir) / "_METADATA"
    expected = a_state(20).averages["generator"]
    taken = []

    @examples(300)
    @given(mutated([path.read_bytes()]))
    def check(content):
        path.write_bytes(content)
        try:
            params = jaxgan.load_params(workdir)
        except ValueError as error:
            assert_one_line(error)
            taken.append(False)
        else:
            for leaf in jax.tree.leaves(params):
                assert type(leaf) is np.ndarray
            got, want = (
                {jax.tree_util.keystr(keys): leaf for keys, leaf in found}
                for found in map(jax.tree_util.tree_leaves_with_path, (params, expected))
            )
            # An array may be missing, but none may have other numbers.
            for name in got:
                np.testing.assert_array_equal(got[name], want[name])
            taken.append(True)

    check()
    assert 5 < sum(taken) < len(taken) - 5
