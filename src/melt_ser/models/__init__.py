"""Models: a backbone of any family, batch invariant, with a classification head.

checkpoint_files.py  find the files of a checkpoint: a folder, the Hugging Face cache, or the hub
checkpoint_config.py read a checkpoint's configuration, with checks
weights.py           build a transformers model of a family: weights from those files, or random from a seed
backbone.py          the interface of all families: frames and their mask, in three stages; freezing
adapters.py          LoRA: adapters that learn in place of the backbone's weights
families/            the families: wav2vec 2.0 and its kin; Whisper; eGeMAPS; or a module of the user's own
kernels/             faster forward passes, behind the switch `backbone.kernels`, and batch invariance
pooling.py           the frames of an utterance to one vector
classifier.py        backbone and head: logits
quiet.py             keep transformers quiet
export.py            saved models that plain transformers loads
hub_model.py         a model that `push` has shared: its files, from the cache or the hub
published_*.py       a published classifier: its files and labels; as ours, batch invariant, with our classes
"""
