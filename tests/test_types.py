import jax
import jax.numpy as jnp

from klamp import Batch, Categorical, Rollout, UpdateReport
from klamp.types import Inputs, Update


def test_what_flows_is_a_pytree_and_passes_through_jit():
    inputs = Inputs(jnp.ones((4, 2)))
    old = Categorical(jnp.zeros((4, 3)))
    batch = Batch(inputs, jnp.zeros(4, int), jnp.arange(4.0), old)
    same = jax.jit(lambda x: x)(batch)
    assert jax.tree.structure(same) == jax.tree.structure(batch)
    assert isinstance(same.old, Categorical)
    assert isinstance(same.inputs, Inputs)


def test_absent_fields_are_no_leaves():
    batch = Batch(Inputs(jnp.ones((4, 2))), jnp.zeros(4, int), jnp.ones(4), None)
    assert batch.weight is None
    assert len(jax.tree.leaves(batch)) == 3


def test_the_fields_of_the_contract_are_there_in_their_order():
    assert Batch._fields[:5] == ("inputs", "action", "advantage", "old", "weight")
    assert Rollout._fields[:7] == (
        "observation",
        "next_observation",
        "action",
        "reward",
        "terminated",
        "truncated",
        "weight",
    )
    assert UpdateReport._fields == (
        "outcome",
        "surrogate_before",
        "surrogate_after",
        "kl",
        "kl_max",
        "entropy",
        "explained_variance",
        "value_loss",
        "clip_fraction",
        "ratio_max",
        "effective_sample_size",
        "details",
    )
    assert Update._fields == ("theta", "state", "outcome", "details")
