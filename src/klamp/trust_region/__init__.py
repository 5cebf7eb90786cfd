"""The trust region, to be read in this order.

``fisher`` (what a small change of a policy is), ``conjugate_gradient`` (the direction),
``line_search`` (the length), ``step`` (all of them together).
"""
