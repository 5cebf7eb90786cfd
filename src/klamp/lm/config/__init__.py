"""The settings of a language-model run, its presets, and the whole configuration."""
