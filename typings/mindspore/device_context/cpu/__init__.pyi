from mindspore.device_context.cpu import op_tuning as op_tuning
