"""What is trained: cross-encoders, a small BERT of one's own, and the ranker over lists.

`cross_encoder` loads and checks any Hugging Face model, `list_ranker` scores lists and saves.
"""
