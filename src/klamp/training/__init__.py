"""The loop: collect → prepare → update → report, stopped and gone on with at any moment."""
