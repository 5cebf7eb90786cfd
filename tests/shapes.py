"""How the tests check the shapes in the annotations: by ``beartype``, which jaxtyping calls.

For each ``def`` that is executed, which for a function within another is each call of the outer
one, jaxtyping makes a checker of the parameters, and a checker of parameters and result. Making a
checker takes longer than most checks. Here each is made once; and the parameters are checked once,
together with the result. Whatever is wrong with either is an error, as before.
"""

from collections.abc import Callable
from typing import Any

from beartype import beartype

_made: dict[Any, Callable[..., Any]] = {}
"""Checkers, by what they were made from."""


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The checker that jaxtyping calls in place of ``function``, which has its signature."""
    if not takes_the_result(function):
        return function
    annotations = tuple((name, repr(kind)) for name, kind in function.__annotations__.items())
    # The checker keeps these values, so that no other has their identity.
    usual = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    made_from = (function.__module__, function.__qualname__, annotations, *map(id, usual))
    if made_from not in _made:
        _made[made_from] = beartype(function)
    return _made[made_from]


def takes_the_result(function: Callable[..., Any]) -> bool:
    """Whether it is called after the function itself, with the result in an argument."""
    code = function.__code__
    by_name = code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount]
    return any(name.startswith("ret") for name in by_name)
