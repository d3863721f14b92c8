"""Readers: one module for each layout of a release, with a function `read(root, config) -> Release`.

Readers of releases with labels in the names of files or folders share `file_names`; to add one, copy `emovo`. Readers
of releases with a table of labels share `annotations`; copy `nemo`. A reader begins with a docstring (the release, its
files, its oddities, its source), then come its tables of codes, the pattern of its names or the columns of its table,
a function that makes a row, and `read`. `csv`, `hub`, `shards` and `audformat_database` read any corpus.

`release`, `file_names`, `annotations` and `delimited` are shared parts without `read`. Licence, address and published
counts of a corpus are in its YAML, `conf/dataset/<name>.yaml`.
"""
