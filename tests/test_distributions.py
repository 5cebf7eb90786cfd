"""The distributions by the name that users import them from."""

import klamp
from klamp import distributions
from klamp.mathematics import distributions as home


def test_every_distribution_is_that_of_the_mathematics() -> None:
    public = {name for name in vars(home) if name[0].isupper()} | {"kl_divergence"}
    assert set(distributions.__all__) == public
    for name in public:
        assert getattr(distributions, name) is getattr(home, name)
    assert klamp.distributions is distributions
