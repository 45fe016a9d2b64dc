from google.protobuf.message import Message

class _Tensor(Message):
    dims: list[int]
    tensor_type: str
    tensor_content: bytes

class _Value(Message):
    tag: str
    tensor: _Tensor

class Checkpoint(Message):
    value: list[_Value]
