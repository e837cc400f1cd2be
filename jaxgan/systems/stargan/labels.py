"""How the classes of attributes become numbers that networks take and give."""

import dataclasses
from collections.abc import Iterator

import chex
import jax
import jax.numpy as jnp
import optax

from jaxgan.data.classes import HAIR_COLOURS, with_excluded

Classes = tuple[tuple[str, tuple[str, ...]], ...]


@dataclasses.dataclass(frozen=True)
class Coding:
    """The numbers that stand for the classes of attributes, side by side.

    An attribute of two classes, such as "no" and "yes", is one number: 0 or 1. Networks tell the
    classes apart by a sigmoid. An attribute of more classes is a one-hot vector, and its classes
    exclude each other by a softmax (Choi et al. 2017, arXiv 1711.09020, section 3.2).

    Attributes:
        classes: (attribute, names of its classes, two or more) for each attribute.
    """

    classes: Classes

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the attributes."""
        return tuple(name for name, _ in self.classes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each attribute has."""
        return tuple(1 if len(names) == 2 else len(names) for _, names in self.classes)

    @property
    def size(self) -> int:
        """How many numbers all attributes have together."""
        return sum(self.sizes)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The attributes that an edit can change alone, by their indices.

        Attributes that exclude each other, `HAIR_COLOURS`, are one group. Every other attribute is
        a group of its own.
        """
        hair = tuple(i for i, name in enumerate(self.names) if name in HAIR_COLOURS)
        alone = tuple((i,) for i in range(len(self.names)) if i not in hair)
        return (*alone, hair) if hair else alone

    @property
    def num_classes(self) -> int:
        """How many classes all attributes have together."""
        return sum(len(names) for _, names in self.classes)

    def branches(self, logits: jax.Array, codes: jax.Array) -> jax.Array:
        """The logits of the classes given, out of those of all classes.

        Args:
            logits: float [batch, num_classes].
            codes: int [batch, attributes].

        Returns:
            float [batch, attributes].
        """
        chex.assert_shape(logits, (len(codes), self.num_classes))
        counts = [len(names) for _, names in self.classes]
        firsts = jnp.array([sum(counts[:i]) for i in range(len(counts))])
        return jnp.take_along_axis(logits, codes + firsts, axis=1)

    def encode(self, codes: jax.Array) -> jax.Array:
        """The numbers of classes: int [batch, attributes] -> float32 [batch, size]."""
        chex.assert_shape(codes, (None, len(self.classes)))
        parts = [
            codes[:, i, None].astype(jnp.float32)
            if size == 1
            else jax.nn.one_hot(codes[:, i], size, dtype=jnp.float32)
            for i, size in enumerate(self.sizes)
        ]
        return jnp.concatenate(parts, axis=1)

    def decode(self, logits: jax.Array) -> jax.Array:
        """The likeliest classes: float [batch, size] -> int32 [batch, attributes]."""
        codes = [
            (part[:, 0] > 0) if part.shape[1] == 1 else jnp.argmax(part, axis=1)
            for part in self.split(logits)
        ]
        return jnp.stack([code.astype(jnp.int32) for code in codes], axis=1)

    def changed(self, codes: jax.Array, attribute: str, code: int) -> jax.Array:
        """The classes of images after an attribute has been given another class.

        A new colour of hair takes the place of the old one, as in `classes.with_excluded`.

        Args:
            codes: int [batch, attributes].
            attribute: the name of the attribute.
            code: the index of its new class.
        """
        for name, new in with_excluded({attribute: code}, dict(self.classes)).items():
            codes = codes.at[:, self.names.index(name)].set(new)
        return codes

    def split(self, numbers: jax.Array) -> Iterator[jax.Array]:
        """The numbers of each attribute: [batch, size] -> [batch, size of the attribute] each."""
        chex.assert_shape(numbers, (None, self.size))
        first = 0
        for size in self.sizes:
            yield numbers[:, first : first + size]
            first += size

    def cross_entropy(self, logits: jax.Array, codes: jax.Array) -> jax.Array:
        """The classification loss of equations 2 and 3: the sum over attributes, mean over images.

        Args:
            logits: float [batch, size].
            codes: int [batch, attributes], the true classes.

        Returns:
            A scalar.
        """
        chex.assert_shape(codes, (len(logits), len(self.classes)))
        total = jnp.zeros(())
        for i, part in enumerate(self.split(logits)):
            if part.shape[1] == 1:
                loss = optax.sigmoid_binary_cross_entropy(part[:, 0], codes[:, i])
            else:
                loss = optax.softmax_cross_entropy_with_integer_labels(part, codes[:, i])
            total += jnp.mean(loss)
        return total
