"""AN4 and LibriSpeech from their public servers, when asked for.

An interrupted download goes on where it stopped; archives are checked, unpacked beside their place and then renamed,
so a corpus is whole or not there.
"""
import fcntl
import hashlib
import http.client
import os
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence

from utils.errors import (
    ContentError,
    NotFoundError,
    OutputError,
    RunError,
    SettingError,
    UnsupportedError,
    nearest,
)
from utils.files import put
from utils.locks import locked_folder
from utils.progress import progress

AN4 = "http://www.speech.cs.cmu.edu/databases/an4"
LIBRISPEECH = "https://www.openslr.org/resources/12"
MD5 = {     # of split.tar.gz, from LIBRISPEECH/md5sum.txt
    "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "32fa31d27d2e1cad72775fee3f4849a9",
    "test-other": "fb5a50374b501bb3bac4815ee91d3135",
    "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
}
HASHES = {32: "md5", 64: "sha256"}      # by number of digits
TIMEOUT = 60                            # seconds without an answer
WAIT = 3                                # seconds until the next attempt
ATTEMPTS = 3                            # in a row that bring nothing
CHUNK = 2 ** 20


def download_an4(folder: str, base_url: str = "", checksum: str = "") -> None:
    """an4/ in `folder` of CMU's NIST SPHERE archive, which has no published `checksum`."""
    _download("an4_sphere.tar.gz", folder, "an4", ("an4", "etc"), base_url or AN4, checksum)


def download_librispeech(folder: str, splits: Sequence[str], base_url: str = "") -> None:
    """LibriSpeech/<split>/ in `folder` of every split; SettingError for one that does not exist."""
    for split in splits:
        if split not in MD5:
            raise SettingError(f"splits: found {split!r}, expected some of {', '.join(MD5)}{nearest(split, MD5)}")
    for split in splits:
        place = f"LibriSpeech/{split}"
        _download(f"{split}.tar.gz", folder, place, (place, split), base_url or LIBRISPEECH, MD5[split])


def _download(name: str, folder: str, inside: str, places: tuple[str, ...], base_url: str, checksum: str) -> None:
    """The folder `inside` an archive as one of `folder`, unless one of the `places` is there."""
    if _is_there(folder, places):
        return
    if not hasattr(tarfile, "data_filter"):
        raise UnsupportedError("this Python unpacks archives unsafely, expected 3.10.12, 3.11.4, 3.12 or later; update "
                               "it")
    with locked_folder(folder, "data_folder", "wait for that download", name=f".{name}.lock"):
        if _is_there(folder, places):       # by now
            return
        archive = os.path.join(folder, name)
        fetch(f"{base_url.rstrip('/')}/{name}", archive, checksum)
        unpack(archive, folder, inside)
        os.unlink(archive)
    print(f"{os.path.join(folder, inside)}: downloaded")


def _is_there(folder: str, places: tuple[str, ...]) -> bool:
    present = [place for place in places if os.path.isdir(os.path.join(folder, place))]
    if present:
        print(f"{os.path.join(folder, present[0])}: is there, not downloaded")
    return bool(present)


def fetch(url: str, path: str, checksum: str = "") -> None:
    """Makes the file `path` from `url`, going on with `path`.part; a file that is there is checked only.

    `checksum`: MD5 or SHA-256 in hexadecimal digits, or "". UserError where the server has no such file, gives up, or
    the file is another.
    """
    if checksum and len(checksum) not in HASHES:
        raise SettingError(f"checksum: found {checksum!r}, expected an MD5 (32 digits) or SHA-256 (64 digits)")
    part, idle = f"{path}.part", 0
    while not os.path.exists(path):
        before = _size(part)
        if not (reason := transfer(url, part)):
            put(part, path)
        elif (idle := 0 if _size(part) > before else idle + 1) == ATTEMPTS:
            raise RunError(f"{url}: {reason}, {_size(part)} bytes are here; run again later, it goes on there")
        else:
            time.sleep(WAIT)
    if checksum and (actual := digest(path, HASHES[len(checksum)])) != checksum.lower():
        os.unlink(path)
        raise ContentError(f"{path}: found checksum {actual}, expected {checksum.lower()}; the file was deleted, "
                           "download it again")


def transfer(url: str, part: str) -> str:
    """Appends to the file `part` what it lacks of `url`: "" when it is whole, else why it is not."""
    have = before = _size(part)
    try:
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            have = have if response.status == 206 else 0    # 200: a server without Range sends all
            total = have + int(response.headers.get("Content-Length") or 0)
            with open(part, "ab") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)      # OSError where another process downloads it
                if _size(part) != before:
                    return "another process has gone on with it"
                stream.truncate(have)
                for chunk in progress(iter(lambda: response.read(CHUNK), b""), os.path.basename(part), "MB",
                                      total // CHUNK + 1, have // CHUNK):
                    stream.write(chunk)
        return "" if _size(part) >= total else f"connection closed before all {total} bytes came"
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return _beyond_the_end(error, part, have)
        if error.code >= 500:
            return f"{error.code} {error.reason}"
        raise NotFoundError(f"{url}: {error.code} {error.reason}, expected the archive; correct --base_url, or "
                            "download it by hand") from None
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    except ValueError as error:
        raise SettingError(f"{url}: {error}, expected http://... or https://...; correct --base_url") from None


def _beyond_the_end(error: urllib.error.HTTPError, part: str, have: int) -> str:
    """A part of as many bytes as the server has is whole; any other is none of its file."""
    if error.headers.get("Content-Range", "").endswith(f"/{have}"):
        return ""
    os.unlink(part)
    return f"a file of other than the {have} bytes found"


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0


def digest(path: str, algorithm: str) -> str:
    """The `algorithm`'s hexadecimal checksum of a file."""
    value = hashlib.new(algorithm)
    with open(path, "rb") as stream:
        for chunk in progress(iter(lambda: stream.read(CHUNK), b""), "checksum", "MB", _size(path) // CHUNK + 1):
            value.update(chunk)
    return value.hexdigest()


def unpack(archive: str, folder: str, inside: str) -> None:
    """Makes `folder`/`inside` from the folder `inside` a tar archive, and of files beside that one those not there.

    ContentError for an archive that is broken or has no such folder, OutputError where it cannot be written; then
    nothing is changed.
    """
    temporary = f"{archive}.unpacked"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with tarfile.open(archive) as tar:
            for member in progress(tar, "unpack"):
                # corpora have no links; through chains of them older Pythons' filter lets a path out of the folder
                if member.name.startswith("/") or not (member.isfile() or member.isdir()):
                    raise tarfile.TarError(f"{member.name} is no file or folder inside of it")
                tar.extract(member, temporary, filter="data")   # nothing outside of `temporary`
        source, target = os.path.join(temporary, inside), os.path.join(folder, inside)
        if not os.path.isdir(source):
            raise ContentError(f"{archive}: holds no {inside}/; delete it, and correct --base_url")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        for name in os.listdir(os.path.dirname(source)):
            other = os.path.join(os.path.dirname(target), name)
            if not os.path.exists(other) and os.path.isfile(os.path.join(os.path.dirname(source), name)):
                put(os.path.join(os.path.dirname(source), name), other)
        put(source, target)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        reason = " ".join(str(error).split())
        if getattr(error, "errno", None):       # of the system, not of the archive's content
            raise OutputError(f"{folder}: {archive} not unpacked ({reason}); make room and run again") from None
        raise ContentError(f"{archive}: not unpacked ({reason}), expected a whole .tar.gz; delete it and download it "
                           "again") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
