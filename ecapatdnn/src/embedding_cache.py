"""Embeddings of files, kept beside the checkpoint that they are of."""
import hashlib
import os
import sys
import zipfile
from pathlib import Path

import numpy as np

from utils.audio.survey import Stamp
from utils.checkpoints.checkpoint import digest
from utils.errors import OutputError
from utils.files import write_arrays

Kept = dict[bytes, tuple[Stamp, np.ndarray]]    # {file: (what it was like, its embeddings)}


class EmbeddingCache:
    """Embeddings by the parameters of one checkpoint, and of `settings` on which they depend: others never meet stale
    ones, and what else the checkpoint records, such as a calibration, may change.

    They lie in embeddings/ beside the checkpoint or in `folder`, in one .npz per folder of recordings. Each comes with
    the Stamp of its file: of one that has changed it is not taken.
    """

    def __init__(self, checkpoint: str | Path, *settings: object, folder: str | Path = ""):
        key = hashlib.sha256(digest(checkpoint))
        key.update(" ".join(map(str, settings)).encode())
        self.folder, self.key = Path(folder or Path(checkpoint).parent) / "embeddings", key.hexdigest()[:16]
        self.writes = True

    def load(self, folder: str | Path) -> Kept:
        """What was saved of the files below `folder`."""
        path = self.path(folder)
        if not path.is_file():
            return {}
        try:
            with np.load(path, allow_pickle=False) as data:
                stamps = [Stamp(*stamp) for stamp in data["stamps"].tolist()]
                return {file: (stamp, embedding) for file, stamp, embedding in
                        zip(data["files"].tolist(), stamps, data["embeddings"], strict=True)}
        except (OSError, KeyError, ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile):
            return {}       # damaged, of before files were looked at, or not ours: computed again

    def save(self, folder: str | Path, kept: Kept) -> None:
        """Keeps them in place of what was saved of the files below `folder`. Where that fails, a line says so, once."""
        if not self.writes:
            return
        stamps, embeddings = zip(*kept.values(), strict=True)
        try:
            write_arrays(self.path(folder), files=np.array(list(kept)), stamps=np.array(stamps, np.int64),
                         embeddings=np.stack(embeddings))
        except OutputError as error:
            self.writes = False
            print(f"note: embeddings are not kept: {error}", file=sys.stderr, flush=True)

    def path(self, folder: str | Path) -> Path:
        """The file that holds the embeddings of the files below `folder`."""
        name = hashlib.sha256(os.fsencode(Path(folder).resolve())).hexdigest()[:8]
        return self.folder / f"{self.key}-{name}.npz"
