"""PyTorch's files read as data and written, without PyTorch; tensors renamed by tables that leave nothing over.

torch_file.py reads and writes the archive, plain_pickle.py the pickle in it without calling anything it names,
safetensors_file.py the other format; networks.py finds the network in what a program has wrapped around it; names.py
applies a model's table (src/torch_layout.py) both ways; command_line.py is that of import_torch.py, importer.py what it
does.
"""
