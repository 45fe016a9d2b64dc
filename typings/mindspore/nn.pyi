from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mindspore import Parameter, Tensor, Type
from typing_extensions import Self

class Cell:
    training: bool
    def __init__(self, auto_prefix: bool = True) -> None: ...
    def __call__(self, *inputs: Any, **kwargs: Any) -> Any: ...
    def cells_and_names(self) -> Iterator[tuple[str, Cell]]: ...
    def compile(self, *inputs: Any) -> None: ...
    def get_parameters(self) -> Iterator[Parameter]: ...
    def name_cells(self) -> dict[str, Cell]: ...
    def set_inputs(self, *inputs: Tensor) -> None: ...
    def set_train(self, mode: bool = True) -> Self: ...
    def to_float(self, dst_type: Type) -> Self: ...
    def trainable_params(self) -> list[Parameter]: ...
    def update_parameters_name(self, prefix: str = "") -> None: ...

class CellList(Cell):
    def __init__(self, *args: Iterable[Cell]) -> None: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Any: ...

class GraphCell(Cell):
    def __init__(self, graph: Any) -> None: ...

class Identity(Cell): ...

class _Layer(Cell):
    weight: Parameter
    bias: Any       # a Parameter; None without has_bias
    has_bias: bool
    bias_add: Callable[[Tensor, Tensor], Tensor]

class _Conv(_Layer):
    in_channels: int
    out_channels: int
    kernel_size: Any
    stride: Any
    pad_mode: str
    padding: Any
    dilation: Any
    group: int
    conv2d: Callable[[Tensor, Tensor], Tensor]

class Conv1d(_Conv):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, pad_mode: str = "same",
                 padding: int = 0, dilation: int = 1, group: int = 1, has_bias: bool = False,
                 weight_init: Any = None, bias_init: Any = None) -> None: ...
    def __call__(self, x: Tensor) -> Tensor: ...

class Conv2d(_Conv):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: int | tuple[int, int],
                 stride: int | tuple[int, int] = 1, pad_mode: str = "same", padding: int | tuple[int, ...] = 0,
                 dilation: int | tuple[int, int] = 1, group: int = 1, has_bias: bool = False,
                 weight_init: Any = None, bias_init: Any = None) -> None: ...
    def __call__(self, x: Tensor) -> Tensor: ...

class Dense(_Layer):
    in_channels: int
    out_channels: int
    matmul: Callable[[Tensor, Tensor], Tensor]
    activation: Any
    activation_flag: bool
    def __init__(self, in_channels: int, out_channels: int, weight_init: Any = None, bias_init: Any = None,
                 has_bias: bool = True) -> None: ...
    def __call__(self, x: Tensor) -> Tensor: ...

class _BatchNorm(Cell):
    gamma: Parameter
    beta: Parameter
    moving_mean: Parameter
    moving_variance: Parameter
    eps: float
    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.9, affine: bool = True) -> None: ...
    def __call__(self, x: Tensor) -> Tensor: ...

class BatchNorm1d(_BatchNorm): ...
class BatchNorm2d(_BatchNorm): ...

class _Rnn(Cell):
    num_layers: int
    hidden_size: int
    bidirectional: bool
    batch_first: bool
    has_bias: bool
    w_ih_list: list[Parameter]
    w_hh_list: list[Parameter]
    b_ih_list: list[Parameter]
    b_hh_list: list[Parameter]
    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, has_bias: bool = True) -> None: ...

class GRU(_Rnn): ...
class LSTM(_Rnn): ...

class CTCLoss(Cell):
    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None: ...

class DistributedGradReducer(Cell):
    def __init__(self, parameters: Iterable[Parameter]) -> None: ...

class Optimizer(Cell):
    parameters: Any
    learning_rate: Any
    def __init__(self, learning_rate: float, parameters: Iterable[Parameter], weight_decay: float = 0.0,
                 loss_scale: float = 1.0) -> None: ...

class Adam(Optimizer):
    def __init__(self, params: Iterable[Parameter], learning_rate: float = 1e-3, *,
                 weight_decay: float = 0.0) -> None: ...

class SGD(Optimizer):
    def __init__(self, params: Iterable[Parameter], learning_rate: float = 0.1, momentum: float = 0.0, *,
                 weight_decay: float = 0.0) -> None: ...
