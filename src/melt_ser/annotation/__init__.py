"""Emotion labels for utterances from their text, by a language model."""
