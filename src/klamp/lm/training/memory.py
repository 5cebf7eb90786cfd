"""What a run will take at least, reckoned before anything is allocated."""

from klamp.envs.checks.memory_budget import NUMBER, in_words, machine_memory
from klamp.errors import ConfigError
from klamp.lm.config.run import Configuration
from klamp.lm.networks.decoder import DecoderConfig

COPIES = 5
"""Of the parameters that are trained: θ, the reference, a gradient and Adam's two moments."""

PASSES = 3
"""Arrays of the size of all logits that an update holds at once where the head is trained."""


def check_memory(config: Configuration, form: DecoderConfig, tokens: int, actions: int) -> None:
    """Raise ``ConfigError`` where a batch or the model cannot fit into this machine.

    ``tokens`` and ``actions`` are the most that one sequence may have.
    """
    here, settings = machine_memory(), config.settings
    model = parameters(form) * (1 if settings.adapter_rank else COPIES) * NUMBER
    if model > here:
        raise ConfigError(
            f"To train all {parameters(form):,} parameters takes at least {in_words(model)}; this "
            f"machine has {in_words(here)}. Train adapters (`adapter_rank=16`), or a smaller "
            "model."
        )
    batch = model + batch_bytes(config, form, tokens, actions)
    if batch > here:
        raise ConfigError(
            f"An update of {settings.completions:,} completions of up to {tokens:,} tokens, of "
            f"which {actions:,} are sampled, takes at least {in_words(batch)}; this machine has "
            f"{in_words(here)}. Lower `prompts`, `generations` or `max_new_tokens`."
        )


def parameters(form: DecoderConfig) -> int:
    """How many numbers a decoder has, biases and scales apart."""
    width, queries = form.width, form.heads * form.head_width
    pairs = form.key_value_heads * form.head_width
    layer = width * (2 * queries + 2 * pairs + 3 * form.mlp_width)
    return form.layers * layer + form.vocabulary * width * (1 if form.tied_head else 2)


def batch_bytes(config: Configuration, form: DecoderConfig, tokens: int, actions: int) -> int:
    """One pass over the whole batch, which is what measures the KL, and the logits or features."""
    settings = config.settings
    rows = settings.completions
    # Of one layer at a time: the stream, queries, keys, values, the MLP; and each head's scores.
    stream = tokens * (4 * form.width + 2 * form.mlp_width) + form.heads * tokens**2
    each = form.width if settings.adapter_rank else PASSES * form.vocabulary
    return NUMBER * rows * (stream + actions * each)
