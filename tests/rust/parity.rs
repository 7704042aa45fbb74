//! The network, its derivative, the loss and every gradient against PyTorch (`tests/fixtures/generate.py`).
