"""Emulators: small stand-ins for a model whose owner keeps it (docs/federation.md).

layers        the layers of a model: which there are, dropped, hidden
compression   one matrix of the middle as bytes
packing       an emulator as a file, and as the model folder it expands to
packed        a quantised middle in memory as it travels
deriving      from the full model and a recipe to an emulator, and its check by whoever has the full model
distilling    teach the kept middle what the full middle gives
fidelity      how close an emulator is to the full model
fetching      from the artifact store to the local cache
"""
