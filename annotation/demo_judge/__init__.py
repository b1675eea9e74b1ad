"""The demo's judge: a small language model of Tandem's own making, for where no other can be had.

It learns to answer the pointwise prompt with the topical grade of a pair, from simulated worlds of
other seeds than the demo's. It is a real model in a normal checkpoint, and makes real mistakes.
It is shipped trained, in `checkpoint/`; others use `shipped`, which finds it and can train it anew.
"""
