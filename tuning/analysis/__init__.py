"""The analysis of a search: what its study and files tell, as the sections of a page.

`reading` makes a `Search` of a folder; the other modules draw one thing each, and `sections` puts
them in order. Nothing here reads Ray's files, or needs the search to have ended.
"""
