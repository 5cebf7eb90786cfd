"""Language-model policies on the same core: ``import klamp.lm``.

Nothing of the core imports this package.
"""
