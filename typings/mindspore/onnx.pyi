from collections.abc import Sequence

from mindspore import Tensor, nn

def export(net: nn.Cell, *inputs: Tensor, file_name: str, input_names: Sequence[str] | None = None) -> None: ...
