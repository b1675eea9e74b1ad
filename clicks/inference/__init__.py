"""What fits click models and propensities: EM, intervention harvesting, priors, identification.

Only `models` and `propensities` use this room; it knows logs as numbers, and no model by name.
"""
