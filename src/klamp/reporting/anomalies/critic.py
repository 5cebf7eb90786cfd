"""Anomalies of the critic: worse than a constant, no better than one, rewards far from 1."""

from collections.abc import Iterator

from klamp.reporting.anomalies.finding import Finding, finding
from klamp.reporting.anomalies.history import History, median
from klamp.reporting.anomalies.returns import stands_still

WORSE, IDLE = -0.1, 0.05
"""Explained variance, as a median of the second half: below the first the critic does harm, below
the second it does nothing. Healthy runs of 20 updates and more are above 0.1, but for those that
have solved their task, whose targets hardly vary: see ``LEFT``. An idle critic counts only where
the return has not risen; the early updates of A2C and CartPole are such."""

LEFT = 0.01
"""Share of the largest value loss of the run below which nothing is left to explain: a solved
CartPole is at 1e-5, and its explained variance anywhere from −6 to 0.1."""

ENOUGH = 20
"""Updates that a critic is given to learn."""

HUGE = 1e4
"""Value loss from where on targets are far from the size of 1 that networks begin with, given that
the critic explains nothing: healthy unscaled rewards (Pendulum) leave 1,000 with V half right."""


def critic(run: History) -> Iterator[Finding]:
    """One finding at most: the scale of the rewards, harm, or nothing learnt."""
    if run.setting("advantage_estimator") == "return" or len(run) < ENOUGH:
        return
    explained = median(run.recent("explained_variance"))
    loss = median(run.recent("value_loss"))
    seen = f"Explained variance {explained:.2g}, value loss {loss:.2g} (medians of "
    seen += f"{run.recent_updates()})."
    if loss > HUGE and explained < 0.5:
        yield finding(
            "reward-scale",
            "The rewards are far from the size of 1 that the critic can learn.",
            f"{seen} The root of twice that loss is {(2 * loss) ** 0.5:,.0f}: so far is V off.",
            f"{'' if run.of_language else '--normalize-reward, or '}rewards divided by their size.",
        )
    elif explained < WORSE and loss > LEFT * run.told("value_loss").max():
        yield finding(
            "critic-worse-than-constant",
            "The critic is worse than a constant, and adds noise to the advantages.",
            seen,
            _smaller(run),
        )
    elif explained < IDLE and stands_still(run):
        yield finding(
            "critic-not-learning",
            "The critic explains nothing, and the return has not risen.",
            seen,
            _larger(run),
        )


def _smaller(run: History) -> str:
    own = run.setting("value_coefficient") is None
    rate = "--critic-learning-rate" if own else "--learning-rate"
    scaled = "" if run.of_language else "--normalize-reward, "
    return (
        f"A smaller {rate}, larger batches ({run.larger_batches}), {scaled}or a smaller "
        "--trace-decay, whose targets are less noisy."
    )


def _larger(run: History) -> str:
    coefficient = run.setting("value_coefficient")
    if coefficient is None:
        given = (
            f"--critic-learning-rate ({run.setting('critic_learning_rate'):g}) and --critic-epochs"
        )
    else:
        given = f"--value-coefficient ({coefficient:g}) and --learning-rate"
    if run.of_language:
        return f"Larger {given}; a wider --value-hidden."
    return f"Larger {given}; --normalize-reward and --normalize-observation where they are off."
