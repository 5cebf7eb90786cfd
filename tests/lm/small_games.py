"""The game of guessing as token ids, and a decoder that plays it badly."""

import jax

from klamp.lm.networks.decoder import Decoder, DecoderConfig
from klamp.lm.networks.untrained import random_decoder
from klamp.lm.tasks.guess import Guess

GAME, S = Guess(numbers=4, turns=3), 24
WORDS = GAME.vocabulary
DATA, KEY = jax.random.key(1), jax.random.key(2)


def small_decoder() -> Decoder:
    sizes = {"width": 16, "layers": 1, "heads": 2, "key_value_heads": 1, "head_width": 8}
    config = DecoderConfig(vocabulary=len(WORDS), mlp_width=16, **sizes)
    return random_decoder(config, jax.random.key(0))
