"""The files that pass between Python and the C++ runner (ascend310_infer). Imports no MindSpore.

    preprocess_Result/00_data/<name>.bin, 01_data/<name>.bin, ...   the inputs of the graph for an item, but for the
                                                                    length that a graph with gears takes
    result_Files/<name>_0.bin, <name>_1.bin, ...                    its outputs
    inputs.json                                                     beside the graph, what a runner must know of it, and
                                                                    under "others" of the other graphs beside it
"""
import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from utils.errors import ContentError, MismatchError, NotFoundError, UserError
from utils.files import whole_file
from utils.formats import migrate, numbered, with_format
from utils.locks import locked_folder
from utils.paths import beside, inside, links
from utils.texts import read_json

MIGRATIONS = (numbered,)    # of inputs.json (utils/formats.py); kFormat of ascend310_infer/src/interface.cc goes along
INPUTS, RESULTS = Path("preprocess_Result"), Path("result_Files")
DESCRIPTION, OTHERS = "inputs.json", "others"
EXPECTED = "what export.py writes beside the graph"
FOREIGN = "not what export.py writes; export the graph again"


class GraphInput(NamedTuple):
    """The first input of a graph."""

    name: str
    length: int         # of it; 0: any, or that of a gear
    gears: list[int]    # lengths that the runner pads it to; []: none

    def check(self, file: str, length: int) -> None:
        """MismatchError where the recording in `file`, so long, is longer than the graph takes."""
        longest = self.gears[-1] if self.gears else self.length
        if longest and length > longest:
            unit = "frames" if self.name == "features" else "samples"
            setting = "a longer last one in --gears" if self.gears else f"--length {length} or more, or 0"
            raise MismatchError(f"{file}: {length} {unit}, but the graph takes {longest}; export it with {setting}")


def description_text(description: dict, path: Path | None = None) -> str:
    """What inputs.json holds: `description`, and below it that of the other graphs beside it.

    path: the inputs.json that is to be replaced.
    """
    others = {}
    if path is not None and path.is_file():
        with contextlib.suppress(UserError, ValueError, TypeError, AttributeError):     # what is not ours goes
            others = {file: other for file, other in _descriptions(read_json(path, EXPECTED, names=True)).items()
                      if file and file != description["file"] and (path.parent / file).is_file()}
    return json.dumps(with_format(description | ({OTHERS: others} if others else {}), MIGRATIONS), indent=2) + "\n"


def read_description(graph: Path) -> dict:
    """What inputs.json beside a graph says of it. UserError where it is missing, foreign or of a later version.

    A graph that was renamed or converted is the one that inputs.json describes, where there is only one.
    """
    path = beside(graph, DESCRIPTION) or graph.parent / DESCRIPTION
    try:
        known = _descriptions(read_json(path, EXPECTED, names=True))
        names = [file.name for file in links(graph) if file.name in known]
        if not names and len(known) > 1:
            raise MismatchError(f"{path}: describes {', '.join(known)}, not {graph.name}; give a converted graph the "
                                "name of the exported one and a folder of its own, with this inputs.json beside it")
        return migrate(known[names[0] if names else next(iter(known))], MIGRATIONS, path)
    except (ValueError, TypeError, AttributeError):
        raise ContentError(f"{path}: {FOREIGN}") from None


def _descriptions(content: dict) -> dict[str, dict]:
    """{file of a graph: its description} of the content of inputs.json; first the graph that was exported last."""
    others = content.get(OTHERS, {})
    last = {name: value for name, value in content.items() if name != OTHERS}
    return {last.get("file", ""): last, **others}


def graph_input(config: Any) -> GraphInput:
    """That of the graph beside config.model_path."""
    graph = Path(config.model_path)
    description = read_description(graph)
    try:
        if "streaming" in description:
            raise MismatchError(f"{graph}: takes a recording step by step, as the runner's --stream does; for files "
                                "export it without --streaming")
        port = description["inputs"][0]
        return GraphInput(port["name"], port["shape"][1] or 0, description.get("gears", []))
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ContentError(f"{graph.parent / DESCRIPTION}: {FOREIGN}") from None


@contextlib.contextmanager
def new_inputs() -> Iterator[None]:
    """Removes what an earlier run left; then it is ours to write. OutputError where another process is at it."""
    with locked_folder(".", str(INPUTS), "wait for it, or start in another folder", name=f".{INPUTS}.lock"):
        for folder in (INPUTS, RESULTS):
            shutil.rmtree(folder, ignore_errors=True)
        yield


def write_inputs(name: str, *arrays: np.ndarray) -> None:
    """Writes the inputs of the item `name`, which may have folders. ContentError where there is one of that name."""
    for number, array in enumerate(arrays):
        path = INPUTS / f"{number:02d}_data" / f"{inside(name)}.bin"
        if path.exists():
            raise ContentError(f"{name}: two items of this name; rename one")
        with whole_file(path, flush=False) as temporary:
            array.tofile(temporary)


def read_output(name: str, number: int, dtype: DTypeLike, divisor: int = 1) -> np.ndarray:
    """Output `number` of the item `name`, flat. UserError where it is missing or its size no multiple of `divisor`."""
    path = RESULTS / f"{inside(name)}_{number}.bin"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror}; run preprocess.py and the runner first") from None
    if not content or len(content) % (divisor * np.dtype(dtype).itemsize):
        raise MismatchError(f"{path}: {len(content)} bytes, expected multiples of {divisor} x "
                            f"{np.dtype(dtype).itemsize}; graph and config.yaml do not fit each other")
    return np.frombuffer(content, dtype)
