"""Why JAX does not start: the platform that was asked for is missing, misspelt or in use."""

import jax
from jax.extend.backend import clear_backends


def fault() -> str | None:
    """Asks JAX for its devices. If it has none, this process cannot go on with JAX afterwards.

    Returns:
        None if JAX has devices. Otherwise one line: what JAX said, the devices that there are, and
        what to do.
    """
    try:
        jax.devices()
    except Exception as error:
        # Of a platform without its plugin, JAX says nothing but AssertionError.
        said = " ".join(str(error).split()) or "it is not installed"
    else:
        return None
    asked = jax.config.jax_platforms  # type: ignore[attr-defined]
    there = _devices_of_any_platform()
    if asked:
        remedy = "set JAX_PLATFORMS to one that is there, or to nothing"
        remedy += f" (JAX_PLATFORMS={there[0].platform})" if there else ""
    else:
        remedy = "see that a platform is installed"
    shown = f"{len(there)} {there[0].platform} ({there[0].device_kind})" if there else "none"
    return (
        f"JAX cannot use {f'the platform {asked!r}' if asked else 'any platform'}: {said[:300]}; "
        f"the devices that are there: {shown}. Now {remedy}; if another program uses the device, "
        "end it; on Colab choose the device at Runtime > Change runtime type"
    )


def _devices_of_any_platform() -> list[jax.Device]:
    try:
        jax.config.update("jax_platforms", None)
        clear_backends()
        return jax.devices()
    except Exception:
        return []
