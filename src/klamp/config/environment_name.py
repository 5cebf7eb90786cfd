"""What the name of an environment says of where it comes from."""

OBJECT = "object:"
"""How the name of an environment begins that was given as an object."""

POOL = "envpool:"
"""How EnvPool's begin."""

LIBRARIES = ("gymnax", "brax", "playground")
"""What stands before the colon in the name of an environment of theirs."""


def module_of(env: str) -> str | None:
    """The module that is imported to make an environment; None where its name names none."""
    if env.startswith((OBJECT, POOL, *(f"{library}:" for library in LIBRARIES))):
        return None
    return env.rpartition(":")[0] or None
