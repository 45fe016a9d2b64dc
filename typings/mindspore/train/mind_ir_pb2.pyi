from collections.abc import Iterable
from typing import Any, TypeVar

from google.protobuf.message import Message

_M = TypeVar("_M", bound=Message)

class _Messages(list[_M]):
    def add(self, **fields: Any) -> _M: ...
    def extend(self, iterable: Iterable[_M]) -> None: ...

class AttributeProto(Message):
    BOOL: int
    DOUBLE: int
    FLOAT: int
    INT64: int
    IOMONAD: int
    LIST: int
    NONE: int
    STRING: int
    TENSORS: int
    TUPLE: int
    UMONAD: int
    name: str
    type: int
    f: float
    i: int
    s: bytes
    floats: list[float]
    ints: list[int]
    strings: list[bytes]
    tensors: _Messages[TensorProto]
    values: _Messages[AttributeProto]
    seq_info: _SeqInfoProto
    def __init__(self, *, name: str = "", type: int = 0, f: float = 0, i: int = 0, s: bytes = b"",
                 ints: Iterable[int] = ()) -> None: ...

class _SeqInfoProto(Message):
    is_dyn_len: bool

class TensorProto(Message):
    BOOL: int
    DOUBLE: int
    FLOAT: int
    FLOAT16: int
    INT32: int
    INT64: int
    name: str
    dims: list[int]
    data_type: int
    raw_data: bytes

class NodeProto(Message):
    name: str
    op_type: str
    input: list[str]
    output: list[str]
    attribute: _Messages[AttributeProto]
    def __init__(self, *, name: str = "", op_type: str = "", input: Iterable[str] = (), output: Iterable[str] = (),
                 attribute: Iterable[AttributeProto] = (), domain: str = "") -> None: ...

class PrimitiveProto(Message):
    PRIMITIVE: int
    name: str
    op_type: str
    instance_name: str
    prim_type: int
    attribute: _Messages[AttributeProto]

class _ValueInfoProto(Message):
    name: str
    tensor: _Messages[TensorProto]

class _GraphProto(Message):
    name: str
    node: _Messages[NodeProto]
    parameter: _Messages[TensorProto]
    input: _Messages[_ValueInfoProto]
    output: _Messages[_ValueInfoProto]

class ModelProto(Message):
    mind_ir_version: int
    graph: _GraphProto
    functions: _Messages[_GraphProto]
    primitives: _Messages[PrimitiveProto]
