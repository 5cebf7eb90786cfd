"""Find the shortest path in a graph that is known from random walks only.

The task of *Decision Transformer* (arXiv:2106.01345, section 3) and of trlX's ``randomwalks``: the
policy is first trained on random walks, which is the reference; rewarded by how short its path is,
it is to find the shortest without leaving the edges.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from klamp.lm.environments.environment import NOTHING_SAID, TokenTurn
from klamp.lm.networks.generation import TurnLimits
from klamp.runtime.seeding import Purpose, generator

GOAL = 0
"""The node that paths end in, and the token that ends a turn."""


class Graph(NamedTuple):
    """A directed graph in which the goal can be reached from every node."""

    edge: Bool[np.ndarray, "nodes nodes"]
    """Whether there is one from the row's node to the column's; none leads back to its own."""
    distance: Int[np.ndarray, " nodes"]
    """The fewest moves to the goal."""


@lru_cache
def random_graph(nodes: int, moves: int, seed: int) -> Graph:
    """The first graph, of those that follow from the seed, whose goal is within reach."""
    for attempt in range(10_000):
        draws = generator(seed, Purpose.RESET, attempt).random((nodes, nodes))
        edge = (draws < 2.5 / nodes) & ~np.eye(nodes, dtype=bool)
        distance = np.where(np.arange(nodes) == GOAL, 0, nodes)
        for _ in range(nodes):
            nearest = np.min(np.where(edge, distance, nodes), axis=1)
            distance = np.minimum(distance, nearest + 1)
        if 3 < distance.max() < moves:
            return Graph(edge, distance)
    raise AssertionError("no graph in 10,000 reaches its goal")


@dataclass(frozen=True)
class Walks:
    """The prompt is a node, the completion the nodes of a path from it to the goal.

    A path of m moves along edges that reaches the goal earns (limit − m)/(limit − shortest), all
    else 0: the best policy earns 1.
    """

    nodes: int = 16
    moves: int = 10
    graph_seed: int = 0
    turns: int = 1

    @property
    def limits(self) -> TurnLimits:
        """One token a move, until the goal."""
        return TurnLimits(self.moves, (GOAL,))

    @property
    def graph(self) -> Graph:
        """The one that all prompts are about."""
        return random_graph(self.nodes, self.moves, self.graph_seed)

    def reset(self, key: PRNGKeyArray) -> tuple[Int[Array, ""], Int[Array, "1"], Bool[Array, "1"]]:
        """The start is the state: any node but the goal."""
        start = jax.random.randint(key, (), 1, self.nodes)
        return start, start[None], jnp.ones(1, bool)

    def step(self, state: Int[Array, ""], tokens: Int[Array, " N"], count: Array) -> TokenTurn:
        """The reward of the path; it is truncated where it does not end in the goal."""
        before = jnp.concatenate([state[None], tokens[:-1]])
        walked = jnp.arange(self.moves) < count
        along_edges = jnp.all(jnp.asarray(self.graph.edge)[before, tokens] | ~walked)
        arrived = tokens[count - 1] == GOAL
        shortest = jnp.asarray(self.graph.distance)[state]
        share = (self.moves - count) / (self.moves - shortest)
        reward = jnp.where(arrived & along_edges, share, 0)
        return TokenTurn(state, *NOTHING_SAID, reward, arrived, ~arrived)

    def expert(self, state: Int[Array, ""], key: PRNGKeyArray) -> tuple[Array, Array]:
        """A random walk: each move along an edge drawn uniformly."""
        edge = jnp.asarray(self.graph.edge)

        def move(node: Array, key: Array) -> tuple[Array, Array]:
            drawn = jax.random.uniform(key, (self.nodes,))
            following = jnp.argmax(jnp.where(edge[node], drawn, -1))
            return following, following

        path = jax.lax.scan(move, state, jax.random.split(key, self.moves))[1]
        arrived = path == GOAL
        count = jnp.where(jnp.any(arrived), jnp.argmax(arrived) + 1, self.moves)
        return path.astype(jnp.int32), count
