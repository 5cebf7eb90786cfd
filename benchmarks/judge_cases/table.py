"""The table of promises."""

import advantages
import bad_input
import damage
import distributions
import disturbances
import policies
import resumption
import solvers
import strangers
import trust_region
import units
import updates

PROMISES = [
    trust_region.PROMISE,
    units.PROMISE,
    distributions.PROMISE,
    advantages.PROMISE,
    solvers.PROMISE,
    updates.PROMISE,
    policies.PROMISE,
    resumption.KILLS,
    resumption.LINES,
    disturbances.STDERR,
    disturbances.DISK,
    disturbances.SEEDS,
    damage.PROMISE,
    strangers.PROMISE,
    bad_input.SETTINGS,
    bad_input.ENVIRONMENTS,
    bad_input.EFFECTS,
]
