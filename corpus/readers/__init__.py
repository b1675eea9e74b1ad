"""Formats of raw data, a file each, and what streams them into a collection's tables.

`beir` is read into memory; `tiangong`, `baidu_ultr` and `own_log` are formats of click logs, which
`log_tables` writes part by part. Only `prepare` uses this room.
"""
