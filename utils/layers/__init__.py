"""What networks are built of that an exported graph, an Ascend or float16 asks for."""
