"""The losses: pure functions of scores and labels, of clicks in sessions, and the mix of both.

Training uses `hybrid`, which has all others below it; settings name rows of their tables.
"""
