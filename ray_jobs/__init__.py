"""The doors to the house: one script a job, its command line made from the job's function.

Nothing imports from here but the scripts themselves.
"""

OPEN = ()
