"""Models: a backbone of any of four families, made batch invariant, and a classification head on top.

backbone.py    one interface to wav2vec 2.0, HuBERT, WavLM and data2vec: frames and their mask, freezing
checkpoint.py  where weights come from: a folder, the Hugging Face cache, the hub, or a seed
masking.py     why an utterance's logits do not depend on its neighbours in the batch
waveform.py    a waveform as model input: padded if too short, normalised, padded together
pooling.py     frames to one vector an utterance
classifier.py  backbone and head together
export.py      saved models that plain transformers loads
"""
