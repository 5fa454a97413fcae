"""A Qwen3 of 3 million random weights, its tokenizer, its chat template and adapters for it, made on the spot.

    .vllm/bin/python tests/vllm/tiny_model.py FOLDER

Makes FOLDER/model, and FOLDER/adapter, a LoRA that changes every answer. Same bytes each time: all is drawn from seeds.

It means nothing, and it is made so that tests can be strict. Its numbers are of 32 bits: with 16, the likeliest word
changes with what else is in the batch. It says whole words with a space before each, and every
such word is one token; so the text of an answer, cut between two words and read again, is the tokens it was made of.
Trained models behave so nearly always, random ones hardly ever. Other tokens are there (all 256 bytes), with weight
zero: only a grammar makes it say them. It ends by itself only when a grammar says so.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

CONTEXT_TOKENS = 2048
VOCABULARY = 1024  # at most; the words below need about 600
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOOL_TOKENS = ["<tool_call>", "</tool_call>"]  # hermes' parser asks the vocabulary for them
WORDS = """
the and you that was for are with his they this have from one had word but not what all were when your can said there
use each which she how their will other about out many then them these some her would make like him into time has look
two more write see number way could people than first water been call who oil its now find long down day did get come
made may part over new sound take only little work know place year live back give most very after thing our just name
good sentence man think say great where help through much before line right too mean old any same tell boy follow came
want show also around form three small set put end does another well large must big even such because turn here why
ask went men read need land different home move try kind hand picture again change off play spell air away animal
house
"""
# Qwen's own way to cut text before the merges: a word takes the space before it along
PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEMPLATE = """
{%- if tools -%}
{{- '<|im_start|>system\n# Tools\n' -}}{%- for tool in tools -%}{{- tool | tojson + '\n' -}}{%- endfor -%}
{{- 'Call one as <tool_call>{"name": …, "arguments": …}</tool_call><|im_end|>\n' -}}
{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\n' + (message.content or '') + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""


def write_model(folder: Path, *, seed: int = 0) -> None:
    tokenizer = make_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=False,
        initializer_range=0.1,  # the usual 0.02 says one word for ever
        bos_token_id=None,
        eos_token_id=SPECIAL.index("<|im_end|>"),
        pad_token_id=SPECIAL.index("<|endoftext|>"),
    )
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        head = torch.zeros_like(model.lm_head.weight)
        words = [token for token, text in sorted(_texts(tokenizer).items()) if _is_word(tokenizer, token, text)]
        head[words] = torch.randn(len(words), config.hidden_size) * 0.3
        model.lm_head.weight.copy_(head)
    # As real checkpoints do; vLLM takes them for whoever asks for no sampling of their own
    model.generation_config = GenerationConfig(
        eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id, do_sample=True, temperature=0.7, top_p=0.9
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_tokenizer() -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=1,
        special_tokens=[*SPECIAL, *TOOL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["".join(f" {word}" for word in WORDS.split())], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE.strip()
    return tokenizer


def _texts(tokenizer: PreTrainedTokenizerFast) -> dict[int, str]:
    return {token: tokenizer.decode([token]) for token in range(len(tokenizer))}


def _is_word(tokenizer: PreTrainedTokenizerFast, token: int, text: str) -> bool:
    return text.startswith(" ") and text[1:].isalpha() and tokenizer.encode(text) == [token]


def write_adapter(folder: Path, base: Path, *, seed: int = 1, rank: int = 8) -> None:
    """A LoRA in PEFT's form, large enough that no answer stays what it was."""
    config = json.loads((base / "config.json").read_text())
    hidden, heads = config["hidden_size"], config["num_attention_heads"] * config["head_dim"]
    parts = {"self_attn.q_proj": (hidden, heads), "self_attn.o_proj": (heads, hidden)}
    dice = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for part, (wide_in, wide_out) in parts.items():
            name = f"base_model.model.model.layers.{layer}.{part}"
            tensors[f"{name}.lora_A.weight"] = torch.randn(rank, wide_in, generator=dice) * 0.3
            tensors[f"{name}.lora_B.weight"] = torch.randn(wide_out, rank, generator=dice) * 0.3
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    about = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": [part.rpartition(".")[2] for part in parts],
        "base_model_name_or_path": base.name,
    }
    (folder / "adapter_config.json").write_text(json.dumps(about))


if __name__ == "__main__":
    home = Path(sys.argv[1])
    write_model(home / "model")
    write_adapter(home / "adapter", home / "model")
