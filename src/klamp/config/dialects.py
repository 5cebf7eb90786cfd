"""The names of settings in other libraries, so that one of these is answered with klamp's.

The names are those of Stable-Baselines3 and sb3-contrib, CleanRL, RLlib, Spinning Up and the
papers; docs/glossary.md has the table.
"""

import functools
from typing import Any, TypeVar

from klamp.errors import ConfigError, closest

T = TypeVar("T")

ELSEWHERE: dict[str, tuple[str, ...]] = {
    "steps": ("total_timesteps", "total_steps", "num_timesteps"),
    "num_envs": ("n_envs", "num_envs_per_env_runner"),
    "rollout_length": ("n_steps", "num_steps", "rollout_fragment_length", "steps_per_epoch"),
    "discount": ("gamma",),
    "trace_decay": ("gae_lambda", "lam", "lambda", "lambda_", "gae_decay"),
    "normalize_observation": ("norm_obs", "normalize_obs", "obs_norm"),
    "normalize_reward": ("norm_reward", "norm_rew"),
    "advantage_normalization": ("normalize_advantage", "norm_adv", "normalize_advantages"),
    "hidden_sizes": ("net_arch", "fcnet_hiddens", "hiddens"),
    "activation": ("activation_fn", "fcnet_activation"),
    "shared_network": ("share_features_extractor", "vf_share_layers"),
    "recurrent_size": ("lstm_hidden_size", "lstm_cell_size"),
    "sequence_length": ("max_seq_len",),
    "initial_log_std": ("log_std_init",),
    "critic_epochs": ("n_critic_updates", "train_v_iters"),
    "critic_learning_rate": ("vf_lr", "value_lr", "critic_lr"),
    "checkpoint_interval": ("save_freq", "save_interval"),
    "learning_rate": ("lr", "pi_lr", "alpha"),
    "epochs": ("n_epochs", "update_epochs", "num_epochs", "num_sgd_iter", "noptepochs"),
    "minibatch_size": ("batch_size", "sgd_minibatch_size", "mini_batch_size"),
    "clip": ("clip_range", "clip_coef", "clip_param", "clip_ratio", "cliprange", "clip_epsilon"),
    "value_clip": ("clip_range_vf", "vf_clip_param"),
    "entropy_coefficient": ("ent_coef", "entropy_coeff", "entropy_coef"),
    "value_coefficient": ("vf_coef", "vf_loss_coeff", "value_loss_coef", "value_coef"),
    "max_gradient_norm": ("max_grad_norm", "grad_clip", "max_gradient"),
    "kl_coefficient": ("kl_coeff", "kl_coef", "beta"),
    "target_kl": ("kl_target",),
    "max_kl": ("delta", "trust_region_size"),
    "damping": ("cg_damping", "damping_coeff"),
    "cg_iterations": ("cg_max_steps", "cg_iters"),
    "fisher_subsample": ("sub_sampling_factor",),
    "backtrack_ratio": ("line_search_shrinking_factor", "backtrack_coeff"),
    "max_backtracks": ("line_search_max_iter", "backtrack_iters"),
}
"""The names in other libraries of each setting."""

_OURS = {name: ours for ours, names in ELSEWHERE.items() for name in names}


def our_name(name: str) -> str | None:
    """The name here of a setting that others call so; None where no other library does."""
    return _OURS.get(name)


def answering_dialects(kind: type[T]) -> type[T]:
    """A dataclass of settings, whose call answers an unknown name as the command line does.

    It raises ``ConfigError`` with our name, or the nearest, where Python has a plain ``TypeError``.
    """
    made: Any = kind.__init__
    known: list[str] = list(vars(kind)["__dataclass_fields__"])

    @functools.wraps(made)
    def answered(self: T, *values: Any, **named: Any) -> None:
        for name in named:
            if name not in known:
                raise ConfigError(_answer(kind.__name__, name, known))
        made(self, *values, **named)

    kind.__init__ = answered
    return kind


def _answer(kind: str, name: str, known: list[str]) -> str:
    """The error about a setting that ``kind`` does not have."""
    ours = our_name(name)
    if ours in known:
        return f"`{kind}` has no setting `{name}`: it is called `{ours}` here."
    if ours is not None:
        return (
            f"`{name}` is called `{ours}` here, and is no setting of `{kind}`. What all algorithms "
            f"share is an argument of `klamp.train`; `help(klamp.{kind})` lists its own."
        )
    return (
        f"`{kind}` has no setting `{name}`.{closest(name, known)} What all algorithms share is an "
        f"argument of `klamp.train`; `help(klamp.{kind})` lists its own."
    )
