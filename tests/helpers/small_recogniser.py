"""A small Whisper with random weights and a tokenizer of letters, as a folder of the hub."""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from melt_ser.models.weights import seeded

SIZES = {"layers": 1, "attention_heads": 2, "ffn_dim": 16}
SPECIAL = ("endoftext", "startoftranscript", "en", "de", "translate", "transcribe", "notimestamps")


def write_recogniser(folder: Path, tokens: int | None = None, seed: int = 0) -> Path:
    """Write the checkpoint, without generation_config.json, and return its folder; tokens: of its vocabulary."""
    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True) for name in SPECIAL])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {f"{name}_token_id": len(letters) for name in ("pad", "bos", "eos")}
    sizes = {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in SIZES.items()}
    config = WhisperConfig(
        **sizes,
        **names,
        vocab_size=tokens or len(letters) + len(SPECIAL),
        d_model=16,
        max_target_positions=12,
        decoder_start_token_id=len(letters) + 1,
        begin_suppress_tokens=None,
        init_std=0.5,
    )
    with seeded(seed):
        model = WhisperForConditionalGeneration(config)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    WhisperFeatureExtractor(80).save_pretrained(folder)
    return folder
