"""A GGUF with random weights, written with the standard library alone: real llama.cpp, 0.4 MB, no meaning at all.

It has a byte tokenizer (a token is a byte, plus "th", "he", "the"), so token counts can be computed by hand, and a
ChatML template. At temperature 0 it says the same thing every time.
"""

import random
import struct
from array import array
from pathlib import Path

CONTEXT = 2048
VOCABULARY = 262
WIDTH = 64  # numbers in a vector, too
_WIDTH, _LAYERS, _HEADS, _KV_HEADS, _HEAD_DIM, _FFN = WIDTH, 2, 2, 1, 32, 128
_UINT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 6, 7, 8, 9
_NORMAL, _CONTROL = 1, 3
_LAST = 3
_ALIGNMENT = 32
TEMPLATE = (
    "{%- for m in messages -%}{{- '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def write_model(path: Path, *, seed: int = 0, embeds: bool = False) -> Path:
    """The same bytes for the same seed. With `embeds` it says, as an embedding model does, how a text's vector comes of
    its tokens': it is the last one's."""
    dice = random.Random(seed)
    tensors = [(name, shape, _weights(dice, name, shape)) for name, shape in _shapes()]
    metadata = _metadata() | ({"qwen3.pooling_type": _uint32(_LAST)} if embeds else {})
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    header += b"".join(_text(key) + value for key, value in metadata.items())
    offset = 0
    for name, shape, weights in tensors:
        # GGUF names the fastest dimension first; type 0 is F32
        dims = struct.pack(f"<{len(shape)}Q", *reversed(shape))
        header += _text(name) + struct.pack("<I", len(shape)) + dims + struct.pack("<IQ", 0, offset)
        offset += _padded(len(weights))
    body = b"".join(weights.ljust(_padded(len(weights)), b"\0") for _, _, weights in tensors)
    path.write_bytes(header.ljust(_padded(len(header)), b"\0") + body)
    return path


def _metadata() -> dict[str, bytes]:
    tokens = [*_byte_alphabet(), "th", "he", "the", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    types = [_NORMAL] * (VOCABULARY - 3) + [_CONTROL] * 3
    return {
        "general.architecture": _string("qwen3"),
        "general.name": _string("random"),
        "qwen3.context_length": _uint32(CONTEXT),
        "qwen3.embedding_length": _uint32(_WIDTH),
        "qwen3.block_count": _uint32(_LAYERS),
        "qwen3.feed_forward_length": _uint32(_FFN),
        "qwen3.attention.head_count": _uint32(_HEADS),
        "qwen3.attention.head_count_kv": _uint32(_KV_HEADS),
        "qwen3.attention.key_length": _uint32(_HEAD_DIM),
        "qwen3.attention.value_length": _uint32(_HEAD_DIM),
        "qwen3.attention.layer_norm_rms_epsilon": struct.pack("<If", _FLOAT32, 1e-6),
        "qwen3.rope.freq_base": struct.pack("<If", _FLOAT32, 10000.0),
        "tokenizer.ggml.model": _string("gpt2"),
        "tokenizer.ggml.pre": _string("qwen2"),
        "tokenizer.ggml.tokens": _array(_STRING, [_text(token) for token in tokens]),
        "tokenizer.ggml.token_type": _array(5, [struct.pack("<i", kind) for kind in types]),
        "tokenizer.ggml.merges": _array(_STRING, [_text("t h"), _text("h e"), _text("th e")]),
        "tokenizer.ggml.eos_token_id": _uint32(VOCABULARY - 1),
        "tokenizer.ggml.padding_token_id": _uint32(VOCABULARY - 3),
        "tokenizer.ggml.add_bos_token": struct.pack("<I?", _BOOL, False),
        "tokenizer.chat_template": _string(TEMPLATE),
    }


def _shapes() -> list[tuple[str, tuple[int, ...]]]:
    shapes: list[tuple[str, tuple[int, ...]]] = [("token_embd", (VOCABULARY, _WIDTH)), ("output_norm", (_WIDTH,))]
    for layer in range(_LAYERS):
        one: dict[str, tuple[int, ...]] = {
            "attn_norm": (_WIDTH,),
            "attn_q": (_HEADS * _HEAD_DIM, _WIDTH),
            "attn_k": (_KV_HEADS * _HEAD_DIM, _WIDTH),
            "attn_v": (_KV_HEADS * _HEAD_DIM, _WIDTH),
            "attn_output": (_WIDTH, _HEADS * _HEAD_DIM),
            "attn_q_norm": (_HEAD_DIM,),
            "attn_k_norm": (_HEAD_DIM,),
            "ffn_norm": (_WIDTH,),
            "ffn_gate": (_FFN, _WIDTH),
            "ffn_up": (_FFN, _WIDTH),
            "ffn_down": (_WIDTH, _FFN),
        }
        shapes += [(f"blk.{layer}.{name}", shape) for name, shape in one.items()]
    return [(f"{name}.weight", shape) for name, shape in shapes]


def _weights(dice: random.Random, name: str, shape: tuple[int, ...]) -> bytes:
    size = shape[0] * (shape[1] if len(shape) > 1 else 1)
    if "norm" in name:
        return array("f", [1.0] * size).tobytes()
    weights = array("f", (dice.gauss(0, 0.3) for _ in range(size)))
    if name == "token_embd.weight":
        # A row of zeros is never the likeliest: it does not end, says no half a character, and nothing that the
        # tokenizer would join with its neighbour, so that an answer read again is the same tokens.
        for token in (ord("h") - 33, *range(94, VOCABULARY)):
            weights[token * _WIDTH : (token + 1) * _WIDTH] = array("f", [0.0] * _WIDTH)
    return weights.tobytes()


def _byte_alphabet() -> list[str]:
    """GPT-2's: a printable character for each byte; ASCII letters and signs come first, at 0 to 93."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + index) for index in range(len(others))]


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _string(value: str) -> bytes:
    return struct.pack("<I", _STRING) + _text(value)


def _uint32(value: int) -> bytes:
    return struct.pack("<II", _UINT32, value)


def _array(kind: int, items: list[bytes]) -> bytes:
    return struct.pack("<IIQ", _ARRAY, kind, len(items)) + b"".join(items)
