"""The heart of the library, to be read in this order.

``fisher`` (what is a small change of a policy), ``conjugate_gradient`` (the direction),
``line_search`` (the length), ``step`` (all of it together).
"""
