"""A decoder that knows nothing yet."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from klamp.lm.networks.decoder import LINEAR_MAPS, Block, Decoder, Linear
from klamp.lm.networks.model_config import DecoderConfig


def random_decoder(config: DecoderConfig, key: PRNGKeyArray) -> Decoder:
    """A decoder in float32, its weights drawn at random.

    Weights are normal with variance 1/in, those that add to the residual stream further divided by
    twice the number of layers; the embedding and the head have a standard deviation of 0.02, so
    that the first policy is nearly uniform. Biases are 0, and scales 1.
    """
    keys = iter(jax.random.split(key, 2 + len(LINEAR_MAPS)))
    query, pairs = config.heads * config.head_width, config.key_value_heads * config.head_width
    layers, width, mlp = config.layers, config.width, config.mlp_width

    def linear(inner: int, outer: int, bias: bool, residual: bool = False) -> Linear:
        deviation = (inner * (2 * layers if residual else 1)) ** -0.5
        weight = deviation * jax.random.normal(next(keys), (layers, outer, inner))
        return Linear(weight, jnp.zeros((layers, outer)) if bias else None)

    def scale() -> Float[Array, "layers W"] | None:
        return jnp.ones((layers, config.head_width)) if config.query_key_norm else None

    def table() -> Float[Array, "V D"]:
        return 0.02 * jax.random.normal(next(keys), (config.vocabulary, width))

    embedding = table()
    blocks = Block(
        attention_norm=jnp.ones((layers, width)),
        query=linear(width, query, config.attention_bias),
        key=linear(width, pairs, config.attention_bias),
        value=linear(width, pairs, config.attention_bias),
        output=linear(query, width, config.output_bias, residual=True),
        query_norm=scale(),
        key_norm=scale(),
        mlp_norm=jnp.ones((layers, width)),
        gate=linear(width, mlp, config.mlp_bias),
        up=linear(width, mlp, config.mlp_bias),
        down=linear(mlp, width, config.mlp_bias, residual=True),
    )
    own_head = None if config.tied_head else table()
    return Decoder(config, embedding, blocks, jnp.ones(width), own_head)
