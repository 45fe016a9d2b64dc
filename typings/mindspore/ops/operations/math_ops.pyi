from mindspore import Tensor
from mindspore.ops import Primitive

class NPUClearFloatStatusV2(Primitive):
    def __call__(self, status: Tensor) -> Tensor: ...

class NPUGetFloatStatusV2(Primitive):
    def __call__(self, status: Tensor) -> Tensor: ...
