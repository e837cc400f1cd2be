"""Classes of attributes by their names, as a user gives them."""

from collections.abc import Mapping, Sequence

# The classes of an attribute that an image has or has not.
YES_OR_NO = ("no", "yes")
# Such attributes of celeb_a, of which a face shows one at most.
HAIR_COLOURS = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")


def classes_named(words: Sequence[str], classes: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Turns names of classes into their numbers.

    Args:
        words: each "ATTRIBUTE=CLASS", or "CLASS" alone if there is a single attribute.
        classes: the names of the classes of each attribute, by the attribute's name.

    Returns:
        The number of the class, by the attribute's name; of the last word, if several name an
        attribute.

    Raises:
        ValueError: there is no such attribute or class.
    """
    found = {}
    for word in words:
        name, _, wanted = word.rpartition("=")
        if not name and len(classes) == 1:
            name = next(iter(classes))
        if name not in classes:
            raise ValueError(
                f"{word!r} names no attribute that this run was told: give ATTRIBUTE=CLASS, of "
                f"{', '.join(classes)}"
            )
        if wanted not in classes[name]:
            raise ValueError(
                f"{name} cannot be {wanted!r}: it is one of {', '.join(classes[name])}"
            )
        found[name] = classes[name].index(wanted)
    return found


def with_excluded(
    wanted: Mapping[str, int], classes: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """Adds to classes that are wanted that what they exclude is not there.

    A face has one colour of hair: with "Black_Hair=yes" goes "Blond_Hair=no", and so on. The
    classes of a single attribute exclude each other anyway.

    Args:
        wanted: numbers of classes, by attribute.
        classes: the names of the classes of each attribute, by the attribute's name.

    Returns:
        `wanted`, and the number of "no" of each attribute of `classes` that is excluded and has no
        class in `wanted`.
    """
    no, yes = range(2)
    colours = [name for name in HAIR_COLOURS if tuple(classes.get(name, ())) == YES_OR_NO]
    if all(wanted.get(name) != yes for name in colours):
        return dict(wanted)
    return {**dict.fromkeys(colours, no), **wanted}
