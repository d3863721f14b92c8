"""Small text encoders with random weights, as on the hub, and a corpus whose words tell the label."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM

import small_runs
from melt_ser.models.weights import seeded

WORDS = {"angry": "damn go away", "happy": "great what fun", "sad": "he is gone"}
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
    "vocab_size": 40,
}


def write_text_encoder(folder: Path, kind: str = "roberta") -> Path:
    """Write a masked language model of a kind (bert, roberta) with its tokenizer of whole words; return the folder."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    known = sorted({word for text in WORDS.values() for word in text.split()} | {"well", "then", "oh", "my"})
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(special + known)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    config, model = {"bert": (BertConfig, BertForMaskedLM), "roberta": (RobertaConfig, RobertaForMaskedLM)}[kind]
    with seeded(0):
        model(config(**SIZES, pad_token_id=1, initializer_range=0.5)).save_pretrained(folder)
    return folder


def spoken_corpus(root: Path, wordless: int = 0, scripted: bool = False) -> Path:
    """Write a CSV corpus of tones with words of their class; the first `wordless` rows have none.

    scripted: whether each class has one sentence; otherwise no two speakers say the same.
    """
    small_runs.corpus(root)
    table = pd.read_csv(root / "table.csv")
    other = ["well", "then", "oh", "my", "well then", "oh my"]
    said = [
        WORDS[label] + ("" if scripted else f" {other[number % 6]} {other[number // 6]}")
        for number, label in enumerate(table["label"])
    ]
    table.assign(text=["..."] * wordless + said[wordless:]).to_csv(root / "table.csv", index=False)
    return root
