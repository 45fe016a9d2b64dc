"""What MindSpore 2.10.0 writes into its log while it compiles for an Ascend: backend, kernels, what the host does."""
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

MARK = "ascend_check:"      # starts the lines that the compiling process adds
# under which the lines below are written
LEVELS = {"GLOG_v": "2", "MS_SUBMODULE_LOG_v": "{DEVICE:1,SESSION:1,VM:1}"}

# the second line comes once a process, but the first not where a graph for any length would have to run
BACKEND = re.compile(r"(?:Build\] Backend build graph, .*|GetOrCreateBackend\] The created )backend type: (\d)")
KERNEL = re.compile(r"GenerateKernelMod\] kernel opname:(\w+), kernel type:(\w+)")
HOST = re.compile(r"SetKernelInfoWithMsg\] (\S+) kernel attr info: input\[(.*)\] output\[(.*)\]")
CALL = re.compile(r"primitive target does not match backend: Ascend, primitive_target: CPU, node name: ([^\s,]+)")
GE = "1"                    # of the backend's types; 0 runs kernel by kernel
ACLNN, ACLOP = "opapi_kernel", "acl_kernel"
PYTHON = ("PyExecute", "raise")     # the operators that call Python


@dataclass
class Record:
    """What is known of a graph. Kernels and operators of the host are counted by the operator's name."""

    kernels: dict = field(default_factory=dict)         # {kernel type: Counter}
    host: Counter = field(default_factory=Counter)      # what is not computed on the Ascend ...
    tensors: Counter = field(default_factory=Counter)   # ... and of that what computes tensors from tensors
    backends: set = field(default_factory=set)
    ended: bool = False
    absent: bool = False    # such a network has no such graph
    error: str = ""

    def count(self, *types: str) -> int:
        """The number of operators with a kernel of one of these types."""
        return sum(self.kernels[kind].total() for kind in types if kind in self.kernels)


def mark(word: str, name: str = "", text: str = "") -> str:
    """A line for the log: `word` is begin, compile, absent, end, error; `text` belongs to an error."""
    return f"\n{MARK} {word} {name}\n" + "".join(f"{MARK} | {line}\n" for line in text.splitlines())


def read_log(lines: Iterable[str]) -> dict[str, Record]:
    """{name of the graph: Record} of the lines of a process's log, by the marks in it."""
    records, record, compiling = {}, Record(), False
    for line in lines:
        if line.startswith(MARK):
            word, _, rest = line.removeprefix(MARK).strip().partition(" ")
            if word == "begin":
                record, compiling = records.setdefault(rest, Record()), False
            elif word == "compile":
                compiling = True
            elif word == "absent":
                record.absent = True
            elif word == "end":
                record.ended, compiling = True, False
            elif word == "error":
                record.error, compiling = " ", False
            elif word == "|":
                record.error += rest + "\n"
        elif compiling:
            _take(record, line)
    return records


def _take(record: Record, line: str) -> None:
    if match := KERNEL.search(line):
        record.kernels.setdefault(match[2], Counter())[match[1]] += 1
    elif match := HOST.search(line):
        name = operator(match[1])
        record.host[name] += 1
        if all("Tensor" in side for side in match.groups()[1:]):    # else of shapes or scalars, or makes such
            record.tensors[name] += 1
    elif (match := CALL.search(line)) and operator(match[1]) in PYTHON:
        record.host[operator(match[1])] += 1
    elif match := BACKEND.search(line):
        record.backends.add(match[1])


def operator(node: str) -> str:
    """The operator of a node, such as Default/conv-ConvStack/Shape-op0."""
    return re.sub(r"-op\d+$", "", node.rsplit("/", 1)[-1])
