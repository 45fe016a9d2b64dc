"""What networks are built of where an exported graph, an Ascend or float16 asks for more than mindspore.nn has.

shapes.py keeps exported graphs resizable, ascend.py has the recurrent layers of CANN, mixed_precision.py the layers
that compute in float16, spectrum.py the power of spectra in numbers that float16 holds.
"""
