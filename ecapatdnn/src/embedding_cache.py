"""Embeddings of files, kept beside the checkpoint that they are of."""
import hashlib
import zipfile
from pathlib import Path

import numpy as np

from utils.files import whole_file


class EmbeddingCache:
    """Embeddings of one checkpoint and of `settings` on which they depend: others never meet stale ones.

    They lie in embeddings/ beside the checkpoint, in one .npz per folder of recordings.
    """

    def __init__(self, checkpoint: str | Path, *settings: object):
        digest = hashlib.sha256(Path(checkpoint).read_bytes())
        digest.update(" ".join(map(str, settings)).encode())
        self.folder, self.key = Path(checkpoint).parent / "embeddings", digest.hexdigest()[:16]

    def load(self, folder: str | Path) -> dict[bytes, np.ndarray]:
        """{file: embeddings} of the files below `folder` that were saved."""
        path = self.path(folder)
        if not path.is_file():
            return {}
        try:
            with np.load(path, allow_pickle=False) as data:
                return dict(zip(data["files"], data["embeddings"], strict=True))
        except (OSError, KeyError, ValueError, EOFError, AttributeError, zipfile.BadZipFile):
            return {}       # damaged, or not ours: computed again

    def save(self, folder: str | Path, embeddings: dict[bytes, np.ndarray]) -> None:
        """Keeps {file: embeddings} of the files below `folder`, in place of what was saved."""
        with whole_file(self.path(folder)) as temporary:
            np.savez(temporary, files=np.array(list(embeddings)), embeddings=np.stack(list(embeddings.values())))

    def path(self, folder: str | Path) -> Path:
        """The file that holds the embeddings of the files below `folder`."""
        name = hashlib.sha256(str(Path(folder).resolve()).encode()).hexdigest()[:8]
        return self.folder / f"{self.key}-{name}.npz"
