"""Scoring with saved rankers: pairs in one process, and lists by a pool of Ray's actors.

The jobs `rerank` and `evaluate` use `pool`, and `pair_scorer` to find a ranker.
"""
