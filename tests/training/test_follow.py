"""The processes that do not lead: they do what process 0 asks, and end when it does."""

import pytest
from joined_threads import in_each, joined_threads

import klamp
from klamp.collection.shards import POSITION
from klamp.runtime.signals import Signals
from klamp.runtime.watch import Ended
from klamp.training import follow as module
from klamp.training.follow import follow


def config(**settings: object) -> klamp.RunConfig:
    small = {"num_envs": 4, "rollout_length": 8, "steps": 64, "hidden_sizes": (4,), "shards": 2}
    return klamp.RunConfig(
        "CartPole-v1",
        klamp.TRPO(),
        klamp.Settings(**(small | {"critic_minibatch_size": 32} | settings)),
    )


@pytest.mark.parametrize("code", [0, 143])
def test_it_answers_where_its_environments_stand_until_the_run_ends(monkeypatch, code) -> None:
    # One device of one process holds no half of a batch; tests/test_distributed.py compiles it.
    monkeypatch.setattr(module.Iteration, "compile", lambda run, state: 0.0)
    joined = joined_threads(2)

    def work(each):
        if each.index:
            return follow(config(), each, signals=Signals())
        (part,) = each.gather(POSITION)
        each.watch.end(code, "so it ends")
        return part

    part, ended = in_each(joined, work)
    assert {name.split(".")[0] for name in part} == {"1"}
    if code:
        assert isinstance(ended, Ended)
        assert ended.code == code
    else:
        assert ended is None
    for each in joined:
        each.watch.leave()
