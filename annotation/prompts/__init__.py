"""What a judge is asked: Jinja templates, criteria and examples, turned into tokens that fit.

Start at `prompt`; `prompt_encoder` makes tokens of it in the frame of the judge's `chat` template,
and `templates` runs other people's Jinja safely. All of annotation may use the first two.
"""
