"""The Hugging Face hub as `push` sees it: a repository that is checked, made and filled in one commit.

Every failure becomes a sentence, in which the token is hidden whatever the hub or its client writes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from melt_ser.core.errors import SetupError, first_line, one_line
from melt_ser.core.package import __version__
from melt_ser.core.secret import without_key
from melt_ser.models.checkpoint_files import DESCRIPTION
from melt_ser.models.quiet import quiet_hub
from melt_ser.runs.upload import is_model_file

if TYPE_CHECKING:
    from melt_ser.runs.upload import Upload

NAME = re.compile(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)  # the hub itself refuses some more


class HubClient:
    """A repository of models on the hub, and the token of the user."""

    def __init__(self, repository: str, public: bool) -> None:
        """Find the token; SetupError if there is none, if the name is not sound, or if HF_HUB_OFFLINE is set."""
        from huggingface_hub import HfApi, constants, get_token

        if not NAME.fullmatch(repository):
            raise SetupError(f"'{one_line(repository)}' is no name of a repository; give <owner>/<name>.")
        if constants.is_offline_mode():
            raise SetupError("HF_HUB_OFFLINE forbids to ask the hub; unset it to push.")
        self.repository, self.public = repository, public
        self.token = get_token() or ""
        if not self.token:
            raise SetupError("There is no token for the Hugging Face hub; run `hf auth login`, or set HF_TOKEN.")
        self.api = HfApi(token=self.token, library_name="melt_ser", library_version=__version__)

    def check(self, paths: Collection[str]) -> tuple[list[str], list[str]]:
        """Return those of the paths that the repository has already, and its files of another pushed model.

        Raises SetupError if it is public and the user did not say so, or the other way round.
        """
        from huggingface_hub.errors import RepositoryNotFoundError

        with self._sentences("could not be asked"):
            try:
                info = self.api.model_info(self.repository)
            except RepositoryNotFoundError:
                return [], []
        if info.private is self.public:
            state, fix = ("private", "leave out --public") if info.private else ("public", "add --public")
            raise SetupError(f"{self.repository} is {state} already; {fix}, or give another name.")
        present = sorted(sibling.rfilename for sibling in info.siblings or [])
        ours = any(PurePosixPath(path).name == DESCRIPTION for path in present)
        of_another = [path for path in present if ours and is_model_file(path) and path not in paths]
        return [path for path in paths if path in present], of_another

    def upload(self, files: Sequence[Upload], removed: Sequence[str] = ()) -> str:
        """Make the repository if it is not there, and add and remove files in one commit; return its address."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        quiet_hub()
        with self._sentences("did not take the model"):
            self.api.create_repo(self.repository, private=not self.public, exist_ok=True)
            operations: list[CommitOperationAdd | CommitOperationDelete]
            operations = [CommitOperationAdd(file.path, file.source) for file in files]
            operations += [CommitOperationDelete(path) for path in removed]
            commit = self.api.create_commit(self.repository, operations, commit_message="Push a run of melt_ser")
        return str(commit.commit_url)

    @contextmanager
    def _sentences(self, claim: str) -> Iterator[None]:
        """Raise SetupError, a sentence without the token, for an error of the client or of its HTTP library."""
        from huggingface_hub.errors import HfHubHTTPError

        try:
            yield
        except Exception as error:
            if isinstance(error, HfHubHTTPError):
                status = error.response.status_code
                told = f"it answered {status}: {first_line(ValueError(error.server_message or ''))}"
                fix = "check that the token may write there" if status in (401, 403, 404) else "try again later"
            else:
                told, fix = f"{type(error).__name__}: {first_line(error)}", "check the network, then try again"
            told = one_line(without_key(told, self.token))
        else:
            return
        raise SetupError(f"The hub {claim} ({told}); {fix}.")  # without the cause, whose text may have the token
