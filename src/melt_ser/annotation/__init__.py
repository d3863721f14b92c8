"""Labels from text by a language model: how they are made, and how they compare with people's."""
