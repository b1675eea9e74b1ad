"""The train loop and what it keeps: optimizer, checkpoints, validation, the log and its trackers.

Ray Train runs `loop` on every worker; the job reads `checkpoints`, `stops` and `storage`.
"""
