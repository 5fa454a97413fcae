"""Parley: your own private ChatGPT on serverless GPUs. Read `chat/turn.py` first."""

__version__ = "0.1.0"
