"""The memory agent, judged again from the text of its episodes by a dictionary."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from klamp.lm.tasks.builtin import TASKS
from klamp.lm.tasks.memory import Remember
from klamp.lm.tasks.task import demonstrate


@dataclass(frozen=True)
class Careless(Remember):
    """One turn in three it writes anything."""

    def expert(self, state, key):
        right, count = super().expert(state, key)
        other = jax.random.randint(key, right.shape, 0, len(self.vocabulary))
        return jnp.where(jax.random.uniform(key) < 1 / 3, other, right), count


def test_an_episode_is_a_dictionary_and_a_question() -> None:
    task, game = TASKS["memory"], Careless()
    shown = demonstrate(game, jax.random.key(1), jnp.arange(256), jax.random.key(2))
    seen = set()
    for row in range(256):
        text = task.decode(np.asarray(shown.tokens[row])[np.asarray(shown.valid[row])])
        words, truth, kept = text.split(), {}, {}
        for fact in range(4):
            name, value, operation = words[3 * fact : 3 * fact + 3]
            truth[name] = value
            if value != "-" and operation == ("UPDATE" if name in kept else "ADD"):
                kept[name] = value
            elif operation == "DELETE":
                kept.pop(name, None)
            seen.add((operation, value == "-"))
        name, mark, held, answer = words[12:]
        assert mark == "?"
        assert name in truth
        assert held == kept.get(name, "-")
        assert float(shown.reward[row].sum()) == (held == truth[name] == answer)
    right = np.asarray(shown.reward.sum(axis=1)).mean()
    assert 0.2 < right < 0.8
    assert {operation for operation, _ in seen} >= {"ADD", "UPDATE", "DELETE", "NOOP"}
