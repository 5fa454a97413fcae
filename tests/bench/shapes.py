"""Models of a real size without their weights: a folder that vLLM fills with random numbers (`--load-format dummy`).

What a token costs is in the shape, not in the values: the same matrices are read and multiplied. Configurations as
their makers publish them (Qwen3-4B-Instruct-2507-FP8, Qwen3-30B-A3B-Instruct-2507-FP8). The tokenizer is ours,
stretched to their vocabulary, so that each token has a text.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Shape:
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    inner: int  # of the feed-forward part; of one expert, where there are some
    experts: int = 0
    experts_per_token: int = 0
    is_tied: bool = False
    weight_bytes: int = 1  # FP8; the output layer stays in 16 bits
    kv_value_bytes: int = 2
    context_tokens: int = 32_768

    @property
    def kv_bytes_per_token(self) -> int:
        return self.layers * self.kv_heads * self.head * 2 * self.kv_value_bytes

    def weights_read(self, streams: int) -> float:
        """Bytes of weights that one step of so many streams reads, each once. Every stream picks its experts; that
        they pick evenly, and not alike, is assumed: real ones pick alike, and read a little less."""
        attention = 2 * self.hidden * self.heads * self.head + 2 * self.hidden * self.kv_heads * self.head
        if self.experts:
            picked = self.experts * (1 - (1 - self.experts_per_token / self.experts) ** streams)
            feed_forward = 3 * self.hidden * self.inner * picked + self.hidden * self.experts * 2 / self.weight_bytes
        else:
            feed_forward = 3 * self.hidden * self.inner
        output = self.hidden * self.vocabulary * max(2, self.weight_bytes)
        return self.layers * (attention + feed_forward) * self.weight_bytes + output

    def limit_tokens_per_s(self, streams: int, context_tokens: float, bandwidth_bytes_per_s: float) -> float:
        """The most tokens a second that memory allows, all streams together: a step reads the weights once and every
        stream's own context."""
        step_bytes = self.weights_read(streams) + streams * context_tokens * self.kv_bytes_per_token
        return streams * bandwidth_bytes_per_s / step_bytes


SHAPES = {
    "qwen3-4b": Shape(
        layers=36, hidden=2560, heads=32, kv_heads=8, head=128, vocabulary=151_936, inner=9728, is_tied=True
    ),
    "qwen3-30b-a3b": Shape(
        layers=48,
        hidden=2048,
        heads=32,
        kv_heads=4,
        head=128,
        vocabulary=151_936,
        inner=768,
        experts=128,
        experts_per_token=8,
    ),
    # To try the script itself on a CPU
    "tiny": Shape(
        layers=4,
        hidden=256,
        heads=4,
        kv_heads=2,
        head=64,
        vocabulary=2048,
        inner=512,
        weight_bytes=4,
        kv_value_bytes=4,
        context_tokens=2048,
    ),
    "tiny-moe": Shape(
        layers=4,
        hidden=256,
        heads=4,
        kv_heads=2,
        head=64,
        vocabulary=2048,
        inner=128,
        experts=8,
        experts_per_token=2,
        weight_bytes=4,
        kv_value_bytes=4,
        context_tokens=2048,
    ),
}


def write_shape(shape: Shape, folder: Path, tokenizer: Path) -> Path:
    """A model folder without weights, with the tokenizer of the folder `tokenizer`."""
    folder.mkdir(parents=True)
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tokenizer / name, folder / name)
    words = json.loads((tokenizer / "tokenizer.json").read_text())
    vocabulary = words["model"]["vocab"]
    # "Ġ" is the space in front of a word. No merge makes these, so no text is read as them; they can only be said.
    vocabulary |= {f"Ġw{token}": token for token in range(len(vocabulary), shape.vocabulary)}
    (folder / "tokenizer.json").write_text(json.dumps(words))
    (folder / "config.json").write_text(json.dumps(_config(shape)))
    return folder


def _config(shape: Shape) -> dict[str, Any]:
    config: dict[str, Any] = {
        "architectures": ["Qwen3MoeForCausalLM" if shape.experts else "Qwen3ForCausalLM"],
        "model_type": "qwen3_moe" if shape.experts else "qwen3",
        "hidden_size": shape.hidden,
        "intermediate_size": 3 * shape.hidden if shape.experts else shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.context_tokens,
        "tie_word_embeddings": shape.is_tied,
        "rms_norm_eps": 1e-6,
        "rope_theta": 5_000_000,
        "hidden_act": "silu",
        "attention_bias": False,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "torch_dtype": "float32" if shape.weight_bytes == 4 else "bfloat16",
    }
    if shape.experts:
        config |= {
            "num_experts": shape.experts,
            "num_experts_per_tok": shape.experts_per_token,
            "moe_intermediate_size": shape.inner,
            "norm_topk_prob": True,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
        }
    if shape.weight_bytes == 1:
        config["quantization_config"] = {
            "quant_method": "fp8",
            "activation_scheme": "dynamic",
            "weight_block_size": [128, 128],
            "modules_to_not_convert": ["lm_head"],
        }
    return config
