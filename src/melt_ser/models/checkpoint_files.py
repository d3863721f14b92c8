"""Find the files of a checkpoint: in a local folder, in the Hugging Face cache, or else on the hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from melt_ser.audio import egemaps
from melt_ser.config import BackboneConfig
from melt_ser.core.errors import SetupError
from melt_ser.core.package import checkpoint_path
from melt_ser.core.vocabulary import READ_WORDS

CONFIG = "config.json"
DESCRIPTION = "melt_ser.json"  # of a model that melt_ser has saved
HEAD_WEIGHTS = "head.safetensors"  # of one whose head no class of transformers has
TEXT_ENCODER = "text"  # the folder with the text encoder of one that reads words beside the audio
SAFE_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLED_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json")
EXTRACTOR = ("preprocessor_config.json", "processor_config.json")  # the second is the joint file of transformers 5
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt"),
    *("vocab.json", "merges.txt", "sentencepiece.bpe.model"),
)
ADAPTER = "adapter_config.json"
WEIGHT_SUFFIXES = {".pt", ".pth", ".ckpt", ".bin", ".safetensors"}  # no name of the hub ends like this
SECONDS_TO_ANSWER = 10.0
TEXT_SETTINGS = {"backbone.checkpoint": "backbone.text", "backbone.revision": "backbone.text_revision"}
"""The settings of a backbone, and those of a text encoder that stands beside one of speech in their place."""


def find_checkpoint(config: BackboneConfig) -> Path:
    """Return the folder with the checkpoint's configuration and weights; download files that the cache lacks.

    A checkpoint melt_ser/<student> is in the package.

    Raises SetupError, one sentence with the fix, if there is no such folder or the download fails.
    """
    assert config.checkpoint is not None
    folder = checkpoint_path(config.checkpoint)
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise SetupError(_no_folder(folder))
    local = folder.is_absolute() or config.checkpoint.startswith((".", "~")) or config.checkpoint.count("/") > 1
    if local or folder.suffix in WEIGHT_SUFFIXES:
        raise SetupError(f"The checkpoint folder {folder} does not exist; correct backbone.checkpoint.")
    return _cached(config) or _download(config)


def _no_folder(file: Path) -> str:
    """Return the sentence about a checkpoint that is a file."""
    if (file.parent / CONFIG).is_file():
        return f"backbone.checkpoint={file} is a file; give its folder, backbone.checkpoint={file.parent}."
    return (
        f"backbone.checkpoint={file} is a file, such as fairseq or a training loop writes; convert it to a folder with "
        f"{CONFIG} and {SAFE_WEIGHTS[0]}, by the conversion script that transformers has for its family."
    )


def weights_digest(config: BackboneConfig) -> str | None:
    """Return an identifier of the weights that training starts from; None for random weights from a seed.

    It is "commit:<hash>" for a checkpoint of the hub and "sha256:<hash>" over the files of a local folder. Hashing
    takes a second per gigabyte. For the family egemaps it is "opensmile:<version>", since that decides the features.
    That of a text encoder beside the backbone follows, as in "commit:<hash>, text commit:<hash>".

    Raises SetupError, one sentence with the fix, if there is no such checkpoint.
    """
    own = _digest(config)
    if config.text_encoder is None:
        return own
    with naming_settings(TEXT_SETTINGS):
        beside = f"text {_digest(config.text_encoder)}"
    return beside if own is None else f"{own}, {beside}"


@contextmanager
def naming_settings(names: Mapping[str, str]) -> Iterator[None]:
    """Let the errors of the block name other settings than those of a backbone: `names` has these in their place."""
    try:
        yield
    except SetupError as error:
        sentence = str(error)
        for theirs, ours in names.items():
            sentence = sentence.replace(theirs, ours)
        raise SetupError(sentence) from error


def _digest(config: BackboneConfig) -> str | None:
    """Return `weights_digest` of a single encoder."""
    if config.family == "egemaps":
        return f"opensmile:{egemaps.version()}"
    if config.checkpoint is None or config.is_random:
        return None
    folder = find_checkpoint(config)
    if folder != checkpoint_path(config.checkpoint):  # the Hugging Face cache names folders by the commit
        return f"commit:{folder.name}"
    total = hashlib.sha256()
    names = {path.name for path in folder.iterdir()}
    weights = weights_file(folder, config).name
    for name in sorted(names.intersection({CONFIG, *_input_files(config), weights, *_shards(names, weights)})):
        with (folder / name).open("rb") as file:
            total.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return f"sha256:{total.hexdigest()}"


def weights_file(folder: Path, config: BackboneConfig) -> Path:
    """Return the file of weights to read: safetensors, or a pickled file if `config.allow_pickle`.

    Raises SetupError if the folder has no such file.
    """
    name = _choose_weights({path.name for path in folder.iterdir()}, str(folder), config.allow_pickle)
    return folder / name


def _choose_weights(names: set[str], where: str, allow_pickle: bool) -> str:
    for name in SAFE_WEIGHTS:
        if name in names:
            return name
    pickled = next((name for name in PICKLED_WEIGHTS if name in names), None)
    if pickled is None:
        raise SetupError(f"{where} has no weights ({SAFE_WEIGHTS[0]}); give another backbone.checkpoint.")
    if not allow_pickle:
        raise SetupError(
            f"{where} has its weights only as a pickled file, {pickled}; set backbone.allow_pickle=true, "
            "which reads a pickled file with torch's restricted loader, or give a revision with "
            f"{SAFE_WEIGHTS[0]}."
        )
    return pickled


def is_cached(config: BackboneConfig) -> bool:
    """Say whether a checkpoint is a local folder or in the Hugging Face cache; False for random weights."""
    if config.checkpoint is None:
        return False
    try:
        return checkpoint_path(config.checkpoint).is_dir() or _cached(config) is not None
    except SetupError:  # neither a folder nor a name of the hub
        return False


def _cached(config: BackboneConfig) -> Path | None:
    """Return the snapshot in the cache, if it holds the configuration and usable weights."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    assert config.checkpoint is not None
    try:
        path = try_to_load_from_cache(config.checkpoint, CONFIG, revision=config.revision)
    except HFValidationError as error:
        raise SetupError(
            f"backbone.checkpoint={config.checkpoint} is neither a folder nor a model of the hub."
        ) from error
    if not isinstance(path, str):
        return None
    folder, names = Path(path).parent, _names_in(Path(path).parent)
    usable = SAFE_WEIGHTS + (PICKLED_WEIGHTS if config.allow_pickle else ())
    return folder if names.intersection(usable) and names.intersection(_input_files(config)) else None


def _names_in(snapshot: Path) -> set[str]:
    return {path.name for path in snapshot.iterdir() if path.exists()}  # a link of the cache may be broken


def _download(config: BackboneConfig) -> Path:
    """Fetch only the files of the repository that a backbone needs."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    assert config.checkpoint is not None
    revision = f" at revision {config.revision}" if config.revision else ""
    where = f"The checkpoint {config.checkpoint}{revision}"
    small = "" if config.family in READ_WORDS else ", or try a small encoder of the package: backbone=wavlm_tiny"
    try:
        info = HfApi().model_info(config.checkpoint, revision=config.revision, timeout=SECONDS_TO_ANSWER)
        names = {sibling.rfilename for sibling in info.siblings or []}
        weights = _choose_weights(names, where, config.allow_pickle)
        small_files = sorted(names.intersection({CONFIG, *_input_files(config)}))
        shards = sorted({*_shards(names, weights)} - {weights})
        wanted = [*small_files, *shards, weights]  # the weights last: `_cached` takes them for the end of a download
        paths = [hf_hub_download(config.checkpoint, name, revision=config.revision) for name in wanted]
    except SetupError:
        raise
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise SetupError(
            f"{where} is not on the Hugging Face hub, or it is private or gated; correct backbone.checkpoint or "
            "backbone.revision, or log in (hf auth login) with an account that may read it."
        ) from error
    except (
        Exception
    ) as error:  # the hub's client passes on the errors of its HTTP library, and has changed that library once
        with_pickle = _cached(replace(config, allow_pickle=True))
        if with_pickle is not None:
            _choose_weights(_names_in(with_pickle), where, config.allow_pickle)
        raise SetupError(
            f"{where} is not in the Hugging Face cache and {why_not_downloaded(error)}; connect once, or run "
            f"`{download_command(config)}` on a machine with a network and copy its cache, or set "
            f"backbone.checkpoint=<local folder>{small}."
        ) from error
    return Path(paths[0]).parent


def why_not_downloaded(error: Exception) -> str:
    """Return why the hub gave no file, from an error of its client or of the HTTP library below it."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error.__cause__ or error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids asking the hub"
    if isinstance(error, HfHubHTTPError):
        return f"the hub answered {error.response.status_code}"
    return f"the hub cannot be reached ({type(error).__name__})"


def download_command(config: BackboneConfig) -> str:
    """Return the command that puts the checkpoint into the Hugging Face cache."""
    revision = f" --revision {config.revision}" if config.revision else ""
    return f"hf download {config.checkpoint}{revision}"


def _input_files(config: BackboneConfig) -> tuple[str, ...]:
    """Return the names of the files that say how a checkpoint of this family reads its input."""
    return TOKENIZER if config.family in READ_WORDS else EXTRACTOR


def shards_of(weights: Path) -> list[Path]:
    """Return the weight files behind an index; the file itself if it is a single one."""
    names = _shards({path.name for path in weights.parent.iterdir()}, weights.name)
    return [weights.parent / name for name in sorted(names)] or [weights]


def _shards(names: set[str], weights: str) -> set[str]:
    """Return the names of the weight files behind an index; empty if `weights` is a single file."""
    if not weights.endswith(".index.json"):
        return set()
    stem, ending = weights.removesuffix(".index.json").rsplit(".", 1)
    return {name for name in names if name.startswith(f"{stem}-") and name.endswith(f".{ending}")}
