"""From tables to batches: lists with both labels, tokenized, stored, dealt to the workers.

Losses, scoring and training use `lists` and `padding`; training also `store` and `sampler`.
"""
