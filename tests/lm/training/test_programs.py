"""Compiled updates: each is made once, off the thread that asks for it, in 32 bits."""

import threading

import jax
import jax.numpy as jnp
import pytest
from lm.small_models import completions

from klamp.lm.training.programs import Programs


def test_each_program_is_made_once_in_another_thread() -> None:
    traced: list[tuple[str, str]] = []

    def learn(what: str, x: jax.Array) -> jax.Array:
        traced.append((what, threading.current_thread().name))
        return 2 * x + jnp.zeros(())

    programs = Programs(jax.jit(learn, static_argnums=0))
    short, long = completions(actions=1), completions(actions=2)
    with jax.enable_x64(True):
        made = programs.begin("critic", short, jnp.float32(1))
        assert programs.begin("critic", short, jnp.float32(1)) is made
        assert made.result()(jnp.float32(3)) == 6
        assert made.result()(jnp.float32(3)).dtype == jnp.float32
    for what, played in (("all", short), ("critic", long)):
        other = programs.begin(what, played, jnp.ones(played.action.shape))
        assert other is not made
        assert other.result()(jnp.ones(played.action.shape)).shape == played.action.shape
    assert [what for what, _ in traced] == ["critic", "all", "critic"]
    assert not {name for _, name in traced} & {threading.current_thread().name}


def test_what_cannot_be_compiled_is_told_where_it_is_wanted() -> None:
    def learn(what: str, x: jax.Array) -> jax.Array:
        raise ValueError(what)

    begun = Programs(jax.jit(learn, static_argnums=0)).begin("all", completions(), jnp.ones(()))
    with pytest.raises(ValueError, match="all"):
        begun.result()
