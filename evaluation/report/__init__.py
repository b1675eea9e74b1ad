"""Reports: one page of HTML that needs no network, with CSV and LaTeX of each of its tables.

`page` writes what `parts` describe; the other modules make sections of tables and pictures from
data frames alone, so that any job or notebook with such frames gets the same page.
"""
