"""Label utterances with an emotion from their text, by a language model."""
