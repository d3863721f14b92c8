"""Download a corpus: `download` does all steps with `transfer` and `unpack`; `hub` does them for Hugging Face."""
