"""No text shows the key: whole, cut short, escaped or encoded."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation_server import KEY
from melt_ser.core.secret import without_key

SHOWN = [
    f"Bearer {KEY}",
    f"Incorrect API key: {KEY[:10]}…",
    f"ends in {KEY[-9:]}",
    KEY.replace("-", "%2d"),
    "".join(f"%{ord(character):02X}" for character in KEY),
    "".join(f"\\u{ord(character):04x}" for character in KEY),
    "".join(f"\\\\u{ord(character):04x}" for character in KEY),
    "".join(f"\\x{ord(character):02x}" for character in KEY),
    "".join(f"&#{ord(character)};" for character in KEY),
    "".join(f"&#x{ord(character):x};" for character in KEY),
    KEY.encode().hex(),
    KEY.encode().hex().upper(),
    *(b64encode((before + KEY).encode()).decode() for before in ("", ":", "me:", "user:")),
    urlsafe_b64encode(f"a:{KEY}>>>???".encode()).decode(),
]


@pytest.mark.parametrize("text", SHOWN)
def test_without_key_hides_every_form_of_the_key(text: str) -> None:
    hidden = without_key(f"The server says: {text} is wrong.", KEY)
    assert hidden.startswith("The server says: ") and hidden.endswith(" is wrong.") and "<key>" in hidden
    left = hidden.removeprefix("The server says: ").removesuffix(" is wrong.")
    for beside in ("<key>", "Bearer ", "Incorrect API key: ", "ends in "):
        left = left.replace(beside, "")
    assert len(left) < 16  # characters of base64 at both ends, whose neighbours are not of the key


@given(st.text(st.characters(exclude_characters="0123456789%&\\"), max_size=60))
def test_without_key_leaves_other_texts_unchanged(text: str) -> None:
    assert without_key(text, "0123456789") == text
    assert without_key(f"{text}0123456789", "0123456789") == f"{text}<key>"


def test_without_key_keeps_short_words_and_the_text_around_the_key() -> None:
    assert without_key("anger", "anger") == "anger"
    assert without_key(f"100% of {KEY}, \\n and {KEY}{KEY}", KEY) == "100% of <key>, \\n and <key><key>"
