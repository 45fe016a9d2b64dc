"""Names of files as they are in the world: links in circles, checkpoints behind links, keys that become file names.

Imports no MindSpore.
"""
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from utils.errors import NotFoundError, nearest
from utils.files import StrPath

LIST_ENDINGS = {".csv", ".gz", ".json", ".list", ".lst", ".scp", ".tsv", ".txt"}
LONGEST_NAME, LONGEST_PATH = 200, 1000      # bytes; a file system takes 255 and 4096, of which others need a part


def walk_files(folder: StrPath, skipped: str = "") -> Iterator[str]:
    """Paths of all files below `folder`, relative to it with forward slashes; none where there is no such folder.

    Links to folders are followed, but each folder is entered once, under its own name where it has one below `folder`:
    links in circles end, and one that points up to a folder it lies in is passed over. A link to a file is a file, also
    where it leads to nothing: whoever opens it names it. A folder that cannot be read is named on stderr.

    skipped: how the names of folders start that are left out; "" for none.
    """
    root = os.fspath(folder)
    seen, links = set(), [("", root)]
    while links:        # folders first, then what links lead to, in the order of their names
        name, place = links.pop(0)
        found = []
        if not name or not _leads_up(place, root):
            yield from _walk(place, name, seen, found, skipped)
        links = sorted([*links, *found])


def _walk(top, prefix, seen, links, skipped):
    """The files of one folder and those in it, without links to folders: these are added to `links`."""
    stack = [(prefix, top)]
    while stack:
        prefix, place = stack.pop()
        try:
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(place) as entries:
                entries = sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            print(f"warning: {place}: {error.strerror}; what it holds is left out", file=sys.stderr)
            continue
        for entry in entries:
            name = f"{prefix}/{entry.name}" if prefix else entry.name
            if not _is_folder(entry):
                yield name
            elif not skipped or not entry.name.startswith(skipped):
                (links if entry.is_symlink() else stack).append((name, entry.path))


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:         # a link to itself
        return False


def _leads_up(link, root):
    """Whether a link leads to a folder that it lies in, or that `root` lies in."""
    target = os.path.join(os.path.realpath(link), "")
    return any(os.path.join(os.path.realpath(place), "").startswith(target) for place in (os.path.dirname(link), root))


def beside(path: StrPath, name: str, above: bool = False) -> Path | None:
    """The file `name` in the folder of the file `path`, None where there is none.

    Where `path` is a link, it is looked for beside each file that the link leads to as well, after the link itself: a
    cache may keep every file behind a link of its own, or one link may stand for a file of a whole folder.

    above: a folder above will do, too.
    """
    for file in links(path):
        folder = os.path.dirname(file)
        folders = [folder, *((os.path.dirname(os.path.realpath(folder)), os.path.dirname(folder)) if above else ())]
        for place in (Path(folder, name) for folder in folders):
            if place.is_file():
                return place
    return None


def best_of(path: StrPath, pretrained: StrPath | None = None) -> str:
    """The checkpoint that `path` means: a file, or best.ckpt of a run folder. NotFoundError where that holds none.

    pretrained: a model's folder of that name; `path` may then be the name of a folder in it, where nothing else is
    called so.
    """
    name = shipped(path, pretrained, "best.ckpt") if pretrained else os.fspath(path)
    if not os.path.isdir(name):
        return name
    best = os.path.join(name, "best.ckpt")
    if not os.path.isfile(best):
        raise NotFoundError(f"{name}: holds no best.ckpt; expected a run folder, or a checkpoint in it")
    return best


def shipped(path: StrPath, pretrained: StrPath, file: str) -> str:
    """`path`, or pretrained/NAME/`file` where it is a NAME and no file; NotFoundError where neither is there."""
    name = os.fspath(path)
    if os.path.exists(name) or os.path.dirname(name):
        return name
    names = [place.parent.name for place in sorted(Path(pretrained).glob(f"*/{file}"))]
    if name in names:
        return os.path.join(pretrained, name, file)
    if names and not os.path.splitext(name)[1]:
        raise NotFoundError(f"{name}: no such file, nor a name of what ships: {', '.join(names)}{nearest(name, names)}")
    return name


def links(path: StrPath) -> list[Path]:
    """`path`, and where that is a link, what it leads to, link by link; absolute."""
    names = [Path(os.path.abspath(path))]
    while names[-1].is_symlink():
        target = Path(os.path.normpath(os.path.join(os.path.realpath(names[-1].parent), os.readlink(names[-1]))))
        if target in names:
            break
        names.append(target)
    return names


def inside(key: str) -> str:
    """A key out of a list as the path of a file that never leads out of the folder that it is relative to.

    A usual key stays what it is. An absolute path loses its first slash, `..` becomes `__`, and what is longer than
    file systems take is cut, with its checksum behind it.
    """
    parts = [_shortened("__" if part == ".." else part.replace("\0", "_"), LONGEST_NAME)
             for part in key.split("/") if part not in ("", ".")]
    path = "/".join(parts) or "_"
    return path if len(os.fsencode(path)) <= LONGEST_PATH else _shortened(path.replace("/", "_"), LONGEST_NAME)


def _shortened(name, longest):
    content = os.fsencode(name)
    if len(content) <= longest:
        return name
    return content[:longest - 17].decode(errors="ignore") + "-" + hashlib.sha256(content).hexdigest()[:16]


def list_name(path: StrPath) -> str:
    """The name of a list without its ending: `v1.2` of lists/v1.2, lists/v1.2.csv and lists/v1.2.csv.gz."""
    name = Path(path)
    while name.suffix.lower() in LIST_ENDINGS:
        name = name.with_suffix("")
    return name.name


def encoded(path: StrPath) -> Any:
    """`path` as soundfile takes one whose name is no UTF-8: bytes, which its annotations lack."""
    return os.fsencode(path)
