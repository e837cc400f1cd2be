import errno
import json
import logging
import shutil
from pathlib import Path

import chex
import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from mutations import assert_one_line

import jaxgan
from jaxgan import game, training
from jaxgan.run.checkpoints import Checkpoints, restore_newest
from jaxgan.run.workdir import Workdir
from jaxgan.systems.latent.losses import latent_gan
from jaxgan.systems.mlp_gan import networks as mlp
from jaxgan.systems.mlp_gan.config import MLPGANConfig

CONFIG = {"seed": 7, "noise": "uniform"}


def a_state(step=0, seed=7, latent_size=4):
    """A state in which no two parts are alike, as after `step` steps.

    One is so large that Orbax puts it in a file of its own.
    """
    gan = latent_gan(
        mlp.Generator(latent_size, (8,), (4, 4, 1)),
        mlp.Discriminator((8,), (4, 4, 1)),
        optax.adam(1e-3),
        optax.adam(1e-3),
    )
    rng = np.random.default_rng(step)
    state = training.on_host(game.init(gan, jax.random.key(seed)))
    parts = jax.tree.map(
        lambda x: rng.normal(size=x.shape).astype(x.dtype), [state.players, state.averages]
    )
    players, averages = parts
    statistics, averaged = (
        {"batch_stats": {"mean": rng.normal(size=3000).astype(np.float32)}} for _ in range(2)
    )
    state = state.replace(
        step=np.int32(step),
        players=players,
        averages={"generator": {**averages["generator"], **averaged}},
        numbers={"mean": np.float32(rng.normal()), "strength": np.float32(rng.normal())},
    )
    return state.with_player("generator", collections=statistics)


def without_collections(state):
    bare = {"generator": {"params": state.averages["generator"]["params"]}}
    return state.with_player("generator", collections={}).replace(averages=bare)


def assert_equal(a, b):
    with_data = [state.replace(key=jax.random.key_data(state.key)) for state in (a, b)]
    chex.assert_trees_all_equal(*with_data, strict=True)


def restore(checkpoints, like=None, report=print):
    """The state of a single run, or None."""
    states = restore_newest([checkpoints], lambda step: like or a_state(), report)
    return states and states[0]


def save(directory, *steps, keep=3):
    checkpoints = Checkpoints(directory, keep)
    for step in steps:
        checkpoints.save(a_state(step), CONFIG)
    checkpoints.close()
    return checkpoints


def cut_short(directory):
    for path in directory.rglob("*"):
        if path.is_file() and path.stat().st_size > 100:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_all_of_the_state_comes_back_bit_for_bit(tmp_path):
    save(tmp_path, 40)
    lines = []
    restored = restore(Checkpoints(tmp_path), report=lines.append)
    assert_equal(restored, a_state(40))
    assert lines == []


def test_a_state_without_collections_comes_back_too(tmp_path):
    bare = without_collections(a_state(10))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(bare, CONFIG)
    checkpoints.close()
    like = bare.replace(step=np.int32(0))
    assert_equal(restore(Checkpoints(tmp_path), like), bare)
    assert saved_names(tmp_path / "10" / "generator") == {"params"}


def test_a_state_of_other_collections_is_not_taken(tmp_path):
    save(tmp_path, 10)
    bare = without_collections(a_state())
    with pytest.raises(ValueError, match="none of the checkpoints .* can be read"):
        restore(Checkpoints(tmp_path), bare)


def saved_names(item):
    with ocp.StandardCheckpointer() as checkpointer:
        return set(checkpointer.restore(item.absolute()))


def test_the_newest_are_kept(tmp_path):
    assert save(tmp_path, 10, 20, 30, 40, keep=2).steps() == [30, 40]


def test_the_configuration_is_in_the_checkpoint_as_json(tmp_path):
    save(tmp_path, 10)
    assert json.loads((tmp_path / "10" / "config" / "metadata").read_text()) == CONFIG


def test_a_state_may_change_while_it_is_written(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    state = a_state(10)
    checkpoints.save(state, CONFIG)
    jax.tree.map(lambda x: x.fill(0), [state.players, state.averages])
    checkpoints.wait()
    assert_equal(restore(checkpoints), a_state(10))


def test_nothing_to_restore(tmp_path):
    assert restore(Checkpoints(tmp_path / "absent")) is None
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("item", ["state", "generator"])
@pytest.mark.parametrize("damage", ["cut short", "missing"])
def test_a_damaged_checkpoint_is_said_and_the_one_before_used(tmp_path, item, damage):
    save(tmp_path, 10, 20)
    if damage == "missing":
        for path in (tmp_path / "20" / item).rglob("*"):
            if path.is_file():
                path.unlink()
    else:
        cut_short(tmp_path / "20" / item)
    checkpoints = Checkpoints(tmp_path)
    lines = []
    assert_equal(restore(checkpoints, report=lines.append), a_state(10))
    (line,) = lines
    assert line.startswith("checkpoint 20 is damaged (") and line.endswith("aside as damaged_20")
    assert "\n" not in line
    checkpoints.save(a_state(20), CONFIG)
    checkpoints.close()
    assert checkpoints.steps() == [10, 20]
    assert_equal(restore(Checkpoints(tmp_path)), a_state(20))


def test_no_flipped_byte_changes_a_number_unnoticed(tmp_path, capfd):
    save(tmp_path, 10, 20)
    rng = np.random.default_rng(0)
    detected = 0
    for path in sorted(path for path in (tmp_path / "20").rglob("*") if path.is_file()):
        content = path.read_bytes()
        for at in rng.integers(len(content), size=2):
            flipped = bytearray(content)
            flipped[at] ^= 1 << rng.integers(8)
            path.write_bytes(flipped)
            lines = []
            restored = restore(Checkpoints(tmp_path), report=lines.append)
            assert_equal(restored, a_state(10 if lines else 20))
            if lines:
                detected += 1
                (line,) = lines
                assert line.startswith("checkpoint 20 is damaged (")
                (tmp_path / "damaged_20").rename(tmp_path / "20")
        path.write_bytes(content)
    assert detected > 10
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("left", ["all of it", "a part of it", "nothing"])
def test_a_damaged_older_checkpoint_hinders_no_save(tmp_path, left):
    # As a kill leaves one that was being removed, or a disk turns its bytes.
    save(tmp_path, 10, 20)
    for path in sorted((tmp_path / "10").rglob("*"), reverse=True):
        if left == "all of it" and path.name == "_CHECKPOINT_METADATA":
            path.write_bytes(path.read_bytes()[::-1])
        elif left == "nothing" or (left == "a part of it" and "METADATA" in path.name):
            path.rmdir() if path.is_dir() else path.unlink()
    assert_equal(restore(Checkpoints(tmp_path)), a_state(20))
    assert save(tmp_path, 30, 40, keep=2).steps() == [30, 40]
    assert_equal(restore(Checkpoints(tmp_path)), a_state(40))


@pytest.mark.parametrize("item", ["state", "generator"])
def test_other_numbers_than_those_saved_are_not_taken(tmp_path, item):
    # As a flipped byte would leave them that Orbax reads without complaint.
    save(tmp_path / "run", 10, 20)
    save(tmp_path / "other", 21)
    shutil.rmtree(tmp_path / "run" / "20" / item)
    shutil.copytree(tmp_path / "other" / "21" / item, tmp_path / "run" / "20" / item)
    lines = []
    assert_equal(restore(Checkpoints(tmp_path / "run"), report=lines.append), a_state(10))
    assert lines == [
        f"checkpoint 20 is damaged (the {item} is not what was saved): set aside as damaged_20"
    ]


def test_a_checkpoint_of_before_there_were_digests_is_read(tmp_path):
    save(tmp_path, 10)
    shutil.rmtree(tmp_path / "10" / "digests")
    lines = []
    assert_equal(restore(Checkpoints(tmp_path), report=lines.append), a_state(10))
    assert lines == []


def test_what_cannot_be_written_is_an_oserror_and_the_last_checkpoint_stays(
    tmp_path, no_file_above, capfd
):
    checkpoints = save(tmp_path, 10)
    with no_file_above(100):
        with pytest.raises(OSError) as raised:
            checkpoints.save(a_state(20), CONFIG)
            checkpoints.wait()
        checkpoints.close()
    assert raised.value.errno == errno.EFBIG
    assert raised.value.filename == str(tmp_path)
    assert capfd.readouterr() == ("", "")
    assert checkpoints.steps() == [10]
    assert_equal(restore(checkpoints), a_state(10))
    save(tmp_path, 20)
    assert_equal(restore(checkpoints), a_state(20))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "20"]


def test_why_tensorstore_could_not_write_is_found_in_what_it_says(tmp_path, monkeypatch):
    checkpoints = save(tmp_path, 10)
    checkpoints.save(a_state(20), CONFIG)
    said = "RESOURCE_EXHAUSTED: Failed to open: \"x\": No space left [os_error_code='28']"

    def fail():
        raise ValueError(said)

    monkeypatch.setattr(checkpoints._open, "wait_until_finished", fail)
    with pytest.raises(OSError) as raised:
        checkpoints.wait()
    assert (raised.value.errno, raised.value.strerror) == (28, "No space left on device")


def test_a_mistake_in_a_save_is_no_oserror(tmp_path):
    checkpoints = save(tmp_path, 10)
    with pytest.raises(TypeError, match="not JSON serializable"):
        checkpoints.save(a_state(20), {"loss": object()})
        checkpoints.wait()


def test_remove_unfinished(tmp_path):
    checkpoints = save(tmp_path, 10)
    (tmp_path / "20.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    checkpoints.remove_unfinished()
    assert [path.name for path in tmp_path.iterdir()] == ["10"]


def test_a_half_written_checkpoint_is_none(tmp_path):
    save(tmp_path, 10)
    (tmp_path / "20.orbax-checkpoint-tmp").mkdir()
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.steps() == [10]
    assert_equal(restore(checkpoints), a_state(10))
    checkpoints.save(a_state(20), CONFIG)
    checkpoints.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "20"]


def test_only_damaged_checkpoints(tmp_path):
    save(tmp_path, 10, 20)
    cut_short(tmp_path / "10")
    cut_short(tmp_path / "20")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="none of the checkpoints in .* can be read"):
        restore(Checkpoints(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_state_of_other_shapes_is_not_taken(tmp_path):
    save(tmp_path, 10)
    with pytest.raises(ValueError, match=r"\(4, 8\), not float32 \(5, 8\)"):
        restore(Checkpoints(tmp_path), a_state(latent_size=5))


def restore_several(root, saved, damaged=()):
    """What a run of as many seeds finds that saved at these steps: (steps of its states, lines)."""
    runs = []
    for seed, steps in enumerate(saved):
        runs.append(save(root / f"seed_{seed}" / "checkpoints", *steps))
        runs[-1].directory.mkdir(parents=True, exist_ok=True)
    for seed, step in damaged:
        cut_short(runs[seed].directory / str(step))
    lines = []
    states = restore_newest(runs, lambda step: a_state(), lines.append)
    for state in states or []:
        assert_equal(state, a_state(int(state.step)))
    return states and {int(state.step) for state in states}, lines


@pytest.mark.parametrize(
    ("saved", "step", "left"),
    [
        ([(10, 20), (10, 20)], 20, [[10, 20], [10, 20]]),
        ([(10, 20, 30), (10, 20)], 20, [[10, 20], [10, 20]]),
        ([(20, 30), (10, 20), (20, 30)], 20, [[20], [10, 20], [20]]),
        ([(10, 20, 30), (10,)], 10, [[10], [10]]),
    ],
)
def test_several_go_on_from_the_newest_step_that_all_have(tmp_path, saved, step, left):
    assert restore_several(tmp_path, saved)[0] == {step}
    directories = [tmp_path / f"seed_{seed}" / "checkpoints" for seed in range(len(saved))]
    assert [Checkpoints(directory).steps() for directory in directories] == left
    # Orbax saves no step at or before the newest that it finds.
    for directory in directories:
        save(directory, step + 10)
        assert_equal(restore(Checkpoints(directory)), a_state(step + 10))


def test_a_damaged_checkpoint_of_one_takes_all_back(tmp_path):
    steps, lines = restore_several(tmp_path, [(10, 20, 30), (10, 20, 30)], [(1, 20), (1, 30)])
    assert steps == {10}
    damaged, other = lines[:2], lines[2:]
    for line, step in zip(damaged, (30, 20), strict=True):
        assert line.startswith(f"seed_1: checkpoint {step} is damaged (")
        assert line.endswith(f"aside as damaged_{step}")
    assert other == ["seed_0: going back from step 30 to 10, as all do"]


def test_a_kill_between_the_first_saves_takes_all_to_the_beginning(tmp_path):
    steps, lines = restore_several(tmp_path, [(10,), ()])
    assert steps is None
    assert lines == ["going back to the beginning, as not all have a checkpoint"]
    assert restore_several(tmp_path / "other", [(), ()]) == (None, [])


@pytest.mark.parametrize(
    ("saved", "damaged", "said"),
    [
        ([(10, 20), ()], [], "seed_0: 10 20; seed_1: none"),
        ([(10, 20), (30,)], [], "seed_0: 10 20; seed_1: 30"),
        ([(10,), (10,)], [(0, 10)], r"\(of seed_0: 10: .*seed_0: 10; seed_1: 10"),
    ],
)
def test_several_without_a_step_in_common(tmp_path, saved, damaged, said):
    with pytest.raises(ValueError, match=said) as error:
        restore_several(tmp_path, saved, damaged)
    assert "\n" not in str(error.value)
    left = [Checkpoints(tmp_path / f"seed_{i}" / "checkpoints").steps() for i in range(len(saved))]
    assert left == [list(steps) for steps in saved]


def test_one_that_was_never_begun_does_not_undo_the_others(tmp_path):
    runs = [save(tmp_path / "seed_0" / "checkpoints", 10), Checkpoints(tmp_path / "seed_1" / "x")]
    with pytest.raises(ValueError, match="seed_0: 10; seed_1: none. Train those behind up"):
        restore_newest(runs, lambda step: a_state(), print)


def test_load_params_gives_the_averaged_generator(tmp_path):
    save(tmp_path / "checkpoints", 10, 20)
    expected = a_state(20)
    params = jaxgan.load_params(tmp_path)
    chex.assert_trees_all_equal(params, expected.averages["generator"])
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(params))


def test_load_params_gives_the_discriminator_if_asked(tmp_path):
    save(tmp_path / "checkpoints", 10, 20)
    params = jaxgan.load_params(tmp_path, player="discriminator")
    chex.assert_trees_all_equal(params, {"params": a_state(20).players["discriminator"].params})


@pytest.mark.parametrize("player", ["police", "state", "numbers", "digests"])
def test_load_params_knows_the_players(tmp_path, player):
    save(tmp_path / "checkpoints", 10)
    with pytest.raises(ValueError, match=f"one of discriminator, generator, not '{player}'"):
        jaxgan.load_params(tmp_path, player=player)


def test_players_of_any_names_come_back_whether_averaged_or_not(tmp_path):
    state = a_state(10)
    players = {"encoder": state.players["generator"], "judge": state.players["discriminator"]}
    averages = {name: {"params": each.params} for name, each in players.items()}
    for kept in ({}, {"judge": averages["judge"]}, averages):
        checkpoints = Checkpoints(tmp_path / str(len(kept)))
        checkpoints.save(state.replace(players=players, averages=kept), CONFIG)
        checkpoints.close()
        like = a_state().replace(players=players, averages=kept)
        assert_equal(restore(checkpoints, like), state.replace(players=players, averages=kept))
    assert checkpoints.load("encoder")[1]["encoder"].keys() == {"params"}


def test_no_player_has_a_name_that_checkpoints_use(tmp_path):
    state = a_state(10)
    with pytest.raises(ValueError, match="no player can be called 'digests'"):
        Checkpoints(tmp_path).save(
            state.replace(players={"digests": state.players["generator"]}), CONFIG
        )
    assert list(tmp_path.iterdir()) == []


def test_load_params_passes_over_a_damaged_checkpoint_and_says_so(tmp_path, caplog):
    save(tmp_path / "checkpoints", 10, 20)
    cut_short(tmp_path / "checkpoints" / "20")
    with caplog.at_level(logging.WARNING):
        params = jaxgan.load_params(tmp_path)
    chex.assert_trees_all_equal(params, a_state(10).averages["generator"])
    assert "checkpoint 20 is damaged" in caplog.text
    assert (tmp_path / "checkpoints" / "20").is_dir(), "reading changes nothing on disk"


def test_load_params_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint in"):
        jaxgan.load_params(tmp_path / "nothing")


@pytest.mark.parametrize("file", ["_CHECKPOINT_METADATA", "metrics/metrics"])
@pytest.mark.parametrize("content", ["[" * 100_000, '{"metrics": [1]}', "{"], ids=len)
def test_what_lies_beside_the_items(tmp_path, file, content):
    save(tmp_path, 10, 20)
    path = tmp_path / "20" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    checkpoints = Checkpoints(tmp_path)
    try:
        checkpoints.save(a_state(30), CONFIG)
    except ValueError as error:
        assert_one_line(error, f"Orbax cannot open {tmp_path}", "take another --workdir")
        assert content != "{" or file != "_CHECKPOINT_METADATA"
    else:
        checkpoints.close()
        assert checkpoints.steps() == [10, 20, 30]


@pytest.mark.parametrize("file", ["_CHECKPOINT_METADATA", "metrics/metrics"])
def test_what_hinders_saving_is_refused_before_anything_is_changed(tmp_path, file):
    config = MLPGANConfig(workdir=str(tmp_path))
    save(tmp_path / "checkpoints", 10, 20)
    (tmp_path / "metrics.csv").write_text("step,epoch\n20,2.0\n30,3.")
    # In the older checkpoint, since restoring reads only the newest.
    junk = tmp_path / "checkpoints" / "10" / file
    junk.parent.mkdir(exist_ok=True)
    junk.write_text("[" * 100_000)

    def contents():
        return {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}

    before = contents()
    with pytest.raises(ValueError) as error:
        Workdir(tmp_path, 3).open(config, 20)
    name = file.split("/")[0]
    assert_one_line(error.value, f"Orbax cannot open {tmp_path / 'checkpoints'} (", name)
    assert contents() == before
    junk.unlink()
    opened = Workdir(tmp_path, 3)
    opened.open(config, 20)
    opened.checkpoints.save(a_state(30), CONFIG)
    opened.close()
    assert opened.checkpoints.steps() == [10, 20, 30]
    assert (tmp_path / "metrics.csv").read_text().split() == ["step,epoch", "20,2.0"]


def test_a_checkpoint_under_two_names(tmp_path):
    save(tmp_path, 10, 20)
    for name in ("020", "٣"):
        (tmp_path / name).mkdir()
    assert Checkpoints(tmp_path).steps() == [10, 20]


@pytest.mark.parametrize("name", ["run[1]", "[2026] GAN", "a*b?c{d}", "thử nghiệm 'x'"])
def test_a_folder_of_any_name_holds_checkpoints(tmp_path, name):
    checkpoints = save(tmp_path / name / "checkpoints", 10, 20)
    assert_equal(restore(checkpoints), a_state(20))
    assert checkpoints.load("generator")[0] == 20
    assert checkpoints.key_words() == 2
    save(tmp_path / name / "checkpoints", 30, 40, 50)
    assert checkpoints.steps() == [30, 40, 50]


def test_a_checkpoint_under_the_name_of_another_step_is_none(tmp_path):
    save(tmp_path, 10, 20)
    shutil.copytree(tmp_path / "20", tmp_path / "9999")
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.load("generator")[0] == checkpoints.load("discriminator")[0] == 20
    lines = []
    assert_equal(restore(checkpoints, report=lines.append), a_state(20))
    assert lines == [
        "checkpoint 9999 is damaged (it is of step 20, whose name is 20): set aside as damaged_9999"
    ]
    save(tmp_path, 30)
    assert checkpoints.steps() == [10, 20, 30]


def test_a_checkpoint_that_was_renamed_is_said_to_be(tmp_path):
    save(tmp_path, 10)
    (tmp_path / "10").rename(tmp_path / "9999")
    with pytest.raises(ValueError, match="of 9999: it is of step 10, whose name is 10"):
        restore(Checkpoints(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["9999"]


def test_a_save_that_orbax_passes_over_is_an_error(tmp_path):
    checkpoints = save(tmp_path, 30)
    with pytest.raises(OSError, match="it has a checkpoint of step 20 or of a later one"):
        checkpoints.save(a_state(20), CONFIG)
    checkpoints.close()
    assert checkpoints.steps() == [30]


@pytest.mark.parametrize(("end", "damage"), [("wait", "remove"), ("close", "flip")])
def test_a_save_counts_when_it_can_be_read_back(tmp_path, monkeypatch, end, damage):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(a_state(10), CONFIG)
    done = checkpoints._open.wait_until_finished

    def damaging():
        done()
        monkeypatch.setattr(checkpoints._open, "wait_until_finished", done)
        for part in (tmp_path / "10" / "state").rglob("*"):
            if part.is_file() and damage == "remove" and part.name == "manifest.ocdbt":
                part.unlink()
            elif damage == "flip" and part.parent.name == "d":
                content = bytearray(part.read_bytes())
                content[len(content) // 2] ^= 1
                part.write_bytes(content)

    monkeypatch.setattr(checkpoints._open, "wait_until_finished", damaging)
    with pytest.raises(OSError, match="what was saved cannot be read back") as raised:
        if end == "close":
            damaging()
        getattr(checkpoints, end)()
    assert raised.value.filename == str(tmp_path / "10")


def test_removing_all_leaves_what_is_not_ours_and_killed_no_newer_one(tmp_path, monkeypatch):
    save(tmp_path / "run", 10, 20, 30)
    checkpoints = Checkpoints(tmp_path / "run")
    (tmp_path / "run" / "damaged_5").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    rename = Path.rename

    def killed(self, target):
        if self.name == "20":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.remove_all()
    assert checkpoints.steps() == [10, 20]
    checkpoints.remove_all()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_players_that_are_read_together_are_of_one_checkpoint(tmp_path):
    checkpoints = save(tmp_path, 10, 20)
    shutil.rmtree(tmp_path / "20" / "generator")
    step, players = checkpoints.load("discriminator", "generator")
    assert step == 10
    state = a_state(10)
    chex.assert_trees_all_equal(players["discriminator"], state.variables("discriminator"))
    chex.assert_trees_all_equal(players["generator"], state.averages["generator"])
