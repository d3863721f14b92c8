"""Corpora: releases become validated tables. Nothing here imports torch.

`load` is the way in and `corpus.Corpus` the way out. On the way: `reader` (and `readers`) turns a release into a table
(`table`), `verification` decodes its audio once and refuses clips, `labels` maps its labels. `splits` then makes
train, dev and test.
"""
