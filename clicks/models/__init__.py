"""The click models, a file each for its definition; `base` is what all have in common.

They are named in `clicks` for users of the library; `fit_clicks` and `labels` use them.
"""
