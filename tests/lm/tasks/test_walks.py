"""Paths in a graph, judged by a breadth-first search."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from klamp.lm.tasks.task import demonstrate
from klamp.lm.tasks.walks import GOAL, Walks, random_graph

TASK = Walks()


def shortest(edge: np.ndarray, start: int) -> int:
    reached, moves = {start}, 0
    while GOAL not in reached:
        reached |= {int(after) for node in reached for after in np.flatnonzero(edge[node])}
        moves += 1
    return moves


def test_distances_are_those_of_a_search() -> None:
    graph = TASK.graph
    assert [shortest(graph.edge, node) for node in range(TASK.nodes)] == graph.distance.tolist()
    assert not np.any(np.diag(graph.edge))
    assert np.any(random_graph(16, 10, 1).edge != graph.edge)


def test_demonstrations_are_random_walks_and_earn_what_they_are_worth() -> None:
    shown = demonstrate(TASK, jax.random.key(1), jnp.arange(256), jax.random.key(2))
    graph = TASK.graph
    visits = np.zeros((TASK.nodes, TASK.nodes))
    for row in range(256):
        path = np.asarray(shown.tokens[row])[np.asarray(shown.valid[row])].tolist()
        moves = len(path) - 1
        for before, after in itertools.pairwise(path):
            assert graph.edge[before, after]
            visits[before, after] += 1
        arrived = path[-1] == GOAL
        assert arrived or moves == TASK.moves
        assert GOAL not in path[:-1]
        best = shortest(graph.edge, path[0])
        expected = (TASK.moves - moves) / (TASK.moves - best) if arrived else 0
        assert float(shown.reward[row].sum()) == pytest.approx(expected, abs=1e-6)
        assert bool(shown.truncated[row].any()) is not arrived
    # Each edge out of a node is as likely as the others.
    for node in np.flatnonzero(visits.sum(axis=1) > 100):
        count, share = visits[node].sum(), graph.edge[node] / graph.edge[node].sum()
        bound = 5 * np.sqrt(count * share * (1 - share)) + 1e-9
        assert np.all(np.abs(visits[node] - count * share) <= bound)


def test_a_path_beside_the_edges_earns_nothing() -> None:
    graph = TASK.graph
    start = int(np.flatnonzero(~graph.edge[:, GOAL])[-1])
    tokens = jnp.zeros(TASK.moves, int)
    turn = TASK.step(jnp.asarray(start), tokens, jnp.asarray(1))
    assert turn.reward == 0
    assert bool(turn.terminated)
    beside = int(np.flatnonzero(graph.edge[:, GOAL])[-1])
    assert TASK.step(jnp.asarray(beside), tokens, jnp.asarray(1)).reward == 1
