"""How a judge is asked about a query's documents, and what its answers mean.

`strategies` has the four ways to ask, `ask` what they share, `answers` the reading of JSON. The
actor of annotation uses `ask` and `strategies`.
"""
