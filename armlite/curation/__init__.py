"""Data as a recipe: from the rows of published sets to training tasks, traces and a held-out part, in one folder.

The steps are those of `armlite.data`; here stands what is done in which order (`build`), that each is done once
(`steps`), and what can be told of it beforehand (`plan`).
"""
