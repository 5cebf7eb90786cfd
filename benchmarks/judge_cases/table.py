"""The table of promises."""

import advantages
import arguments
import bad_input
import beginnings
import config_files
import damage
import distributions
import disturbances
import evaluations
import explanations
import exports
import language
import policies
import reporters
import resumption
import solvers
import strangers
import together
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
    exports.PROMISE,
    evaluations.PROMISE,
    reporters.PROMISE,
    config_files.PROMISE,
    beginnings.PROMISE,
    arguments.PROMISE,
    explanations.PROMISE,
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
    language.PROMISE,
    together.PROMISE,
]
