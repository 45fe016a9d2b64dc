from mindspore.device_context import cpu as cpu
