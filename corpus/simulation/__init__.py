"""Data of our own making: users who click (`user`), and a whole world to rank in (`world`).

`prepare` uses both; the demo's judge learns from worlds of its own.
"""
