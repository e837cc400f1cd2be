import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgan
from jaxgan import data
from jaxgan.data.embedded import classes_of
from jaxgan.metrics.agreement import classify
from jaxgan.metrics.evaluator import load_attribute_classifier
from jaxgan.systems.stargan import editing
from jaxgan.systems.stargan.labels import Coding
from jaxgan.systems.stargan.networks import Discriminator, Generator

# Three numbers that exclude each other, then one by itself.
CODING = Coding((("hair", ("black", "blond", "grey")), ("smile", ("no", "yes"))))
GENERATOR = Generator(width=2, image_shape=(16, 16, 3), label_size=4, num_blocks=1)
DISCRIMINATOR = Discriminator(width=2, image_shape=(16, 16, 3), class_size=4, num_halvings=2)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
OWN = np.array([[0, 0], [1, 1], [2, 0], [0, 1], [1, 0]])
CODES = np.array([[2, 1], [2, 1], [1, 0], [0, 0], [1, 1]])
# The labels of the paper, written out: a one-hot vector for the hair, a number for the smile.
LABELS = np.float32([[0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 1]])
OWN_LABELS = np.float32([[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 0]])


def random_variables(module, *inputs):
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *map(jnp.zeros, inputs))
    return jax.tree.map(lambda x: rng.normal(scale=0.3, size=x.shape).astype("f4"), shapes)


@functools.cache
def params():
    return random_variables(GENERATOR, (1, 16, 16, 3), (1, 4))


@functools.cache
def apply():
    return jax.jit(GENERATOR.apply)


def by_hand(labels):
    return (apply()(params(), jnp.float32(2 * (IMAGES / 255) - 1), jnp.float32(labels)) + 1) / 2


edit = functools.partial(editing.edit, generator=GENERATOR, coding=CODING)


def assert_images(given, expected):
    assert given.shape == (len(expected), 16, 16, 3) and given.dtype == jnp.float32
    assert 0 <= given.min() and given.max() <= 1
    np.testing.assert_allclose(given, expected, atol=2e-5)


def test_it_is_the_generator_of_the_labels_of_the_classes():
    expected = by_hand(LABELS)
    given = edit(params(), IMAGES, CODES)
    assert_images(given, expected)
    # The labels matter, and by more than rounding.
    assert np.abs(given - by_hand(OWN_LABELS)).max() > 0.01
    for images in (IMAGES / np.float32(255), (IMAGES / 255).tolist()):
        assert_images(edit(params(), images, CODES.tolist()), expected)
    assert_images(edit(params(), IMAGES, LABELS), expected)


def test_white_stays_within_the_range():
    """A masked generator adds a part of the image to a part of its own."""
    generator = GENERATOR.clone(output="masked")
    variables = random_variables(generator, (1, 16, 16, 3), (1, 4))
    given = editing.edit(
        variables, np.full_like(IMAGES, 255), CODES, generator=generator, coding=CODING
    )
    assert 0 <= given.min() < given.max() <= 1


@pytest.mark.parametrize("strength", [0.0, 0.25, 1, 2.0, np.float32([0, 0.5, 1, 1.5, 2])], ids=str)
def test_a_strength_is_a_label_between_the_own_and_the_one_asked_for(strength):
    each = np.broadcast_to(strength, 5)[:, None]
    expected = by_hand((1 - each) * OWN_LABELS + each * LABELS)
    assert_images(edit(params(), IMAGES, CODES, own=OWN, strength=strength), expected)
    assert_images(edit(params(), IMAGES, CODES, own=OWN_LABELS, strength=strength), expected)


def test_the_whole_edit_is_bit_for_bit_that_without_a_strength():
    given = edit(params(), IMAGES, CODES, own=OWN, strength=1.0)
    np.testing.assert_array_equal(given, edit(params(), IMAGES, CODES))


def test_how_many_are_edited_at_a_time_changes_nothing(monkeypatch):
    monkeypatch.setattr(editing, "BLOCK", 2 * 16 * 16 * 3)
    editing._edit.clear_cache()
    assert_images(edit(params(), IMAGES, CODES), by_hand(LABELS))
    editing._edit.clear_cache()


def test_it_can_be_used_inside_jit_and_grad():
    def total(images, strength):
        return edit(params(), images, jnp.asarray(CODES), own=OWN, strength=strength)[0].sum()

    images = jnp.float32(IMAGES / 255)
    slopes, slope = jax.jit(jax.grad(total, argnums=(0, 1)))(images, 0.5)
    assert np.abs(slopes[0]).max() > 1e-3 and (slopes[1:] == 0).all()
    assert np.abs(slope) > 1e-3


def test_a_discriminator_sees_classes():
    variables = random_variables(DISCRIMINATOR, (1, 16, 16, 3))
    recognise = functools.partial(editing.recognise, discriminator=DISCRIMINATOR, coding=CODING)
    given = recognise(variables, IMAGES)
    assert given.shape == (5, 2) and given.dtype == jnp.int32
    images = jnp.float32(2 * (IMAGES / 255) - 1)
    logits = np.asarray(jax.jit(DISCRIMINATOR.apply)(variables, images)[1])
    expected = np.stack([logits[:, :3].argmax(axis=1), logits[:, 3] > 0], axis=1)
    np.testing.assert_array_equal(given, expected)
    with pytest.raises(ValueError, match=r"shape \(n, 16, 16, 3\), not \(5, 8, 16, 3\)"):
        recognise(variables, IMAGES[:, :8])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES[0], r"shape \(n, 16, 16, 3\), not \(16, 16, 3\)"),
        (IMAGES[:, :8], r"shape \(n, 16, 16, 3\), not \(5, 8, 16, 3\)"),
        (IMAGES[..., :1], r"shape \(n, 16, 16, 3\), not \(5, 16, 16, 1\)"),
        (IMAGES[:0], r"shape \(n, 16, 16, 3\), not \(0, 16, 16, 3\)"),
        (IMAGES.astype(np.int32), r"float in \[0, 1\] or uint8, not int32"),
        (IMAGES > 0, r"float in \[0, 1\] or uint8, not bool"),
    ],
)
def test_images_of_another_shape_or_dtype(images, message):
    with pytest.raises(ValueError, match=message):
        edit(params(), images, CODES)


WANTED = r"must be classes, int \(5, 2\), or the generator's labels, float \(5, 4\), not "


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": CODES[:4]}, rf"labels {WANTED}int64 \(4, 2\)"),
        ({"labels": CODES[:, :1]}, rf"labels {WANTED}int64 \(5, 1\)"),
        ({"labels": CODES[0]}, rf"labels {WANTED}int64 \(2,\)"),
        ({"labels": LABELS[:, :2]}, rf"labels {WANTED}float32 \(5, 2\)"),
        ({"labels": LABELS.astype(np.int32)}, rf"labels {WANTED}int32 \(5, 4\)"),
        ({"labels": CODES > 0}, rf"labels {WANTED}bool \(5, 2\)"),
        ({"labels": CODES + [1, 0]}, "labels of hair must be from 0 to below 3, not 1 to 3"),
        ({"labels": CODES - [0, 1]}, "labels of smile must be from 0 to below 2, not -1 to 0"),
        ({"own": OWN[:1]}, rf"own {WANTED}int64 \(1, 2\)"),
        ({"own": OWN + [0, 2]}, "own of smile must be from 0 to below 2, not 2 to 3"),
        ({"strength": 0.5}, "a strength other than 1 wants own="),
        ({"own": OWN, "strength": -0.1}, "strength must be from 0 to 2, not -0.1"),
        ({"own": OWN, "strength": 2.5}, "strength must be from 0 to 2, not 2.5"),
        ({"own": OWN, "strength": float("nan")}, "strength must be from 0 to 2, not nan"),
        ({"own": OWN, "strength": [0.5, 1]}, r"strength must be a number or \(5,\), not \(2,\)"),
        ({"coding": Coding(CODING.classes[:1])}, "labels of 3 numbers, but the generator wants 4"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_one_line(changed, message):
    with pytest.raises(ValueError, match=message) as error:
        edit(params(), IMAGES, **({"labels": CODES} | changed))
    assert "\n" not in str(error.value)


def test_params_of_another_network():
    with pytest.raises(ValueError, match="but the generator wants"):
        jaxgan.edit(params(), np.zeros((1, *editing.FACES.image_shape)), np.zeros((1, 5), int))


def test_the_default_is_the_editor_of_toon_faces():
    assert jaxgan.edit is editing.edit
    assert editing.FACES.image_shape == (64, 64, 3)
    assert editing.FACES.label_size == editing.FACES_CODING.size
    assert dict(editing.FACES_CODING.classes).items() <= classes_of("toon_faces").items()


def test_more_than_there_is_memory_for(monkeypatch):
    monkeypatch.setattr("jaxgan.memory._SMALL", 0)
    # Images before and after, and of a block of five images two maps of two channels.
    least = 4 * 16 * 16 * (2 * 5 * 3 + 2 * 2 * 5)
    monkeypatch.setattr("jaxgan.memory.available", lambda device=None: least)
    edit(params(), IMAGES, CODES)
    monkeypatch.setattr("jaxgan.memory.available", lambda device=None: least - 1)
    with pytest.raises(ValueError, match="editing 5 images of 16x16x3 needs at least"):
        edit(params(), IMAGES, CODES)


def test_the_shipped_editor_changes_hair_and_keeps_skin():
    held_out = data.load("toon_faces", split="test", image_shape=editing.FACES.image_shape)
    faces, labels = held_out.images[:50], held_out.codes(editing.ATTRIBUTES)[:50]
    hair, skin = (editing.ATTRIBUTES.index(name) for name in ("hair_colour", "skin"))
    labels[:, hair] = held_out.attributes["hair_colour"].classes.index("grey")
    edited = np.asarray(jaxgan.edit(jaxgan.pretrained("stargan_faces"), faces, labels))
    seen = classify(edited, load_attribute_classifier("toon_faces"))
    assert np.mean(seen["hair_colour"].argmax(axis=1) == labels[:, hair]) > 0.9
    assert np.mean(seen["skin"].argmax(axis=1) == labels[:, skin]) > 0.9
