"""Corpora: releases become validated tables. Nothing here imports torch."""
