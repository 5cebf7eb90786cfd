"""What is wrong with a run, as far as its settings and the lines of its updates tell.

Pure functions from a ``History`` to findings; ``detection.anomalies`` asks them all.
"""
