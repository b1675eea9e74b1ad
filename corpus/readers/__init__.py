"""Formats of raw data, a file each, and what streams them into a collection's tables.

`beir` is read into memory. `tiangong`, `baidu_ultr` and `own_log` are formats of click logs (what a
format is tells `log_format`), which are read in shards: `shard_tables` writes one, `settling` puts
right what only all of them tell, and `log_tables` does the whole. Only `prepare` uses this room.
"""
