"""The vector of an utterance's words, which a classifier may read beside the audio (`backbone.text`).

It is the mean, over all tokens, of the last states of a text encoder that stays frozen. So a text has one vector, which
is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from melt_ser.core.console import progress, say
from melt_ser.data.words import Tokenise, padded
from melt_ser.models.backbone import Backbone
from melt_ser.models.pooling import MeanPooling

TEXTS_OF_A_BATCH = 32


class TextVectors:
    """A frozen text encoder with the vectors that it has computed so far; it is no part of the model that learns."""

    def __init__(self, encoder: Backbone, tokenise: Tokenise) -> None:
        encoder.freeze("everything")
        self.encoder, self.tokenise = encoder.eval(), tokenise
        self._known: dict[str, Tensor] = {}

    @property
    def features(self) -> int:
        """Return the number of features of a vector."""
        return self.encoder.hidden_size

    def of(self, texts: Sequence[str], device: torch.device) -> Tensor:
        """Return the vector of each text, (texts, features), float32 on the CPU; `device` computes those of new texts.

        An empty text has a vector too: that of the tokens which begin and end every text.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(self._computed(new, device))
        return torch.stack([self._known[text] for text in texts]) if texts else torch.zeros(0, self.features)

    @torch.no_grad()
    def _computed(self, texts: list[str], device: torch.device) -> Iterator[tuple[str, Tensor]]:
        ids, cut = self.tokenise(texts)
        if cut:
            say(f"note: {cut} of {len(ids):,} texts have more tokens than the encoder reads; their ends are cut.")
        encoder, mean = self.encoder.to(device), MeanPooling(self.features)
        longest_first = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
        firsts = range(0, len(ids), TEXTS_OF_A_BATCH)
        for first in progress(firsts, len(firsts), "vectors of the words"):
            rows = longest_first[first : first + TEXTS_OF_A_BATCH]
            tokens, lengths = padded([torch.tensor(ids[row]) for row in rows])
            output = encoder(tokens.to(device), lengths)
            vectors = mean(output.last_hidden_state.float(), output.frame_mask).cpu()
            yield from zip((texts[row] for row in rows), vectors, strict=True)
