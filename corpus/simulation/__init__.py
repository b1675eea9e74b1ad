"""Data of our own making: users who click (`user`), a whole world to rank in (`world`), a `judge`.

`prepare` uses the first two; the demo's judge learns from worlds of its own.
"""
