"""What the page is put together from; what it does in a browser is in test_in_a_browser.py."""

import csv
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.playground import page
from jaxgan.run.workdir import Workdir
from jaxgan.systems.mlp_gan.config import MLPGANConfig


def write_history(workdir, frames, rows=3):
    """Grids of 64 grey images of the levels 4 * epoch + place, and rows of metrics."""
    config = MLPGANConfig.load(workdir)
    held = Workdir(workdir, 3)
    (workdir / "samples").mkdir()
    held.open(config, 10**6)
    for epoch in range(frames):
        levels = (4 * epoch + np.arange(64)) / 255
        held.draw_samples(
            epoch, epoch, np.broadcast_to(levels[:, None, None, None], (64, 28, 28, 1))
        )
    for step in range(1, rows + 1):
        held.log(step, step / 2, {name: step / 10 for name in (*page.CURVES, "d_accuracy")})
    held.close()


class Linear(nn.Module):
    """A generator whose Jacobian is known."""

    latent_size: int = 9

    @nn.compact
    def __call__(self, latents):
        return nn.Dense(784)(latents).reshape(-1, 28, 28, 1)


def test_principal_directions_of_a_linear_generator_are_its_singular_vectors():
    generator = Linear()
    params = generator.init(jax.random.key(0), jnp.zeros((1, 9)))
    latents = jax.random.normal(jax.random.key(1), (5, 9))
    given = page.principal_directions(generator, params, latents)
    left, _, _ = np.linalg.svd(np.asarray(params["params"]["Dense_0"]["kernel"]))
    assert given.shape == (page.DIRECTIONS, 9) and given.dtype == np.float32
    np.testing.assert_allclose(np.abs(given @ left)[:, :6], np.eye(6), atol=1e-3)
    assert all(row[np.abs(row).argmax()] > 0 for row in given)


def test_directions_of_the_trained_pair_change_images_more_than_others_do():
    pair = page.of_package()
    generator = pair.config.generator()
    latents = jax.random.normal(jax.random.key(5), (64, 100))
    directions = page.principal_directions(generator, pair.generator, latents)
    np.testing.assert_allclose(directions @ directions.T, np.eye(6), atol=1e-5)

    def change(direction):
        moved = generator.apply(pair.generator, latents + 0.5 * direction)
        return float(jnp.mean(jnp.square(moved - generator.apply(pair.generator, latents))))

    random = np.random.default_rng(0).standard_normal((20, 100)).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    assert min(map(change, directions)) > 1.5 * max(map(change, random))


def test_a_run_and_its_story(make_run, tmp_path):
    make_run(tmp_path / "run", noise="uniform")
    write_history(tmp_path / "run", frames=3)
    pair = page.of_run(tmp_path / "run")
    assert pair.config.noise == "uniform" and pair.real.shape == (300, 28, 28, 1)
    assert pair.story.epochs == [0, 1, 2] and pair.story.frames.shape == (3, 36, 28, 28)
    for epoch, frame in enumerate(pair.story.frames):
        np.testing.assert_array_equal(frame.min(axis=(1, 2)), 4 * epoch + np.arange(36))
        np.testing.assert_array_equal(frame.max(axis=(1, 2)), 4 * epoch + np.arange(36))
    assert [row["epoch"] for row in pair.story.rows] == [0.5, 1, 1.5]
    assert page.assemble(pair) == page.assemble(page.of_run(tmp_path / "run"))


def test_a_long_story_is_told_in_so_many_frames_and_rows(make_run, tmp_path):
    make_run(tmp_path / "run")
    write_history(tmp_path / "run", frames=34, rows=900)
    story = page.of_run(tmp_path / "run").story
    assert len(story.epochs) == len(story.frames) == page.MOST_FRAMES
    assert (story.epochs[0], story.epochs[-1]) == (0, 33)
    assert len(story.rows) == page.MOST_ROWS and story.rows[-1]["epoch"] == 450


def test_a_run_without_a_history_has_no_story(make_run, tmp_path):
    make_run(tmp_path / "run")
    assert page.of_run(tmp_path / "run").story is None


def test_the_page_of_the_chapters_networks_is_below_five_megabytes():
    pair = page.of_package()
    frames = np.random.default_rng(0).integers(0, 256, (page.MOST_FRAMES, 36, 28, 28), np.uint8)
    # As digits are: an eighth of it ink.
    frames[np.random.default_rng(1).random(frames.shape) > 0.15] = 0
    rows = [dict.fromkeys(("epoch", *page.CURVES), i / 7) for i in range(page.MOST_ROWS)]
    story = page.Story(list(range(page.MOST_FRAMES)), frames, rows)
    assert 4e6 < len(page.assemble(pair._replace(story=story)).encode()) < 5e6


def test_names_are_escaped_and_nothing_that_is_put_in_is_looked_at_again(make_run, tmp_path):
    make_run(tmp_path / "run")
    name = "</script><b>{{pack}}&\"'"
    content = page.assemble(page.of_run(tmp_path / "run")._replace(name=name))
    assert "</script><b>" not in content and "<b>" not in content
    shown = "&lt;/script&gt;&lt;b&gt;{{pack}}&amp;&quot;&#x27;"
    assert f"<title>Fool the police: {shown}</title>" in content
    start = content.index('id="facts">') + len('id="facts">')
    assert json.loads(content[start : content.index("</script>", start)])["run"] == name


def test_there_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no run in"):
        page.of_run(tmp_path)


def test_a_run_without_a_checkpoint(tmp_path):
    MLPGANConfig().save(tmp_path)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        page.of_run(tmp_path)


def test_a_run_of_other_networks(tmp_path):
    (tmp_path / "config.json").write_text('{"experiment": "my_gan"}')
    systems = "age_cgan, biggan, dcgan, mlp_gan, pix2pix, stargan, stylegan2"
    with pytest.raises(ValueError, match=f"this is a run of 'my_gan', not of one of {systems}"):
        page.of_run(tmp_path)


def test_a_run_on_other_images(make_run, tmp_path):
    make_run(tmp_path / "run", image_shape=(8, 10, 3))
    with pytest.raises(ValueError, match="images of 28x28x1; .*run is a run on 8x10x3"):
        page.of_run(tmp_path / "run")


@pytest.mark.parametrize("content", ["step,epoch,d_real\n1,0.5,one\n", "\0\0"])
def test_damaged_metrics(make_run, tmp_path, content):
    make_run(tmp_path / "run")
    (tmp_path / "run" / "metrics.csv").write_text(content)
    with pytest.raises(ValueError, match=r"run/metrics.csv, (step 1: |line 1 is not)"):
        page.of_run(tmp_path / "run")


@pytest.mark.parametrize("content", [b"no picture", b"", b"\x89PNG\r\n\x1a\n half"])
def test_a_damaged_grid(make_run, tmp_path, content):
    make_run(tmp_path / "run")
    (tmp_path / "run" / "samples").mkdir()
    (tmp_path / "run" / "samples" / "epoch_0001.png").write_bytes(content)
    with pytest.raises((ValueError, OSError), match="epoch_0001.png"):
        page.of_run(tmp_path / "run")


def test_a_picture_that_is_no_grid_of_the_run(make_run, tmp_path):
    make_run(tmp_path / "run")
    held = Workdir(tmp_path / "run", 3)
    (tmp_path / "run" / "samples").mkdir()
    held.open(MLPGANConfig.load(tmp_path / "run"), 10**6)
    held.draw_samples(1, 1, np.zeros((4, 28, 28, 1)))
    held.close()
    with pytest.raises(ValueError, match="is not the grid of 8x8 images"):
        page.of_run(tmp_path / "run")


def test_weights_that_are_no_numbers(make_run, tmp_path):
    make_run(tmp_path / "run")
    pair = page.of_run(tmp_path / "run")
    broken = jax.tree.map(lambda x: x * np.nan, pair.discriminator)
    with pytest.raises(ValueError, match="the discriminator cannot be shown"):
        page.assemble(pair._replace(discriminator=broken))


def test_rows_written_by_hand_are_read(make_run, tmp_path):
    make_run(tmp_path / "run")
    with open(tmp_path / "run" / "metrics.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("step", "epoch", *page.CURVES, "fid"))
        writer.writerow((1, 0.5, 1, 2, 0.5, 0.4, ""))
        writer.writerow((2, 1, 1, "nan", 0.5, 0.4, 3))
    story = page.of_run(tmp_path / "run").story
    assert [row["epoch"] for row in story.rows] == [0.5] and story.epochs == []
