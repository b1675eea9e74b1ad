"""What judges' grades are worth: the jobs `agreement` and `merge`, and the measures of them.

Other rooms use the two jobs alone; they need annotations as tables, and no engine.
"""
