# /// script
# requires-python = ">=3.11"
# dependencies = ["torch==2.13.0", "tokenizers>=0.22", "gguf>=0.19", "numpy>=2"]
# ///
"""Trains parley-tiny from nothing and writes it as a quantised GGUF that llama.cpp runs.

    python train.py --minutes 55 --out parley-tiny.gguf

Four steps, in this order below: tokenizer, batches, model (a small Qwen3, in plain PyTorch), training; then the export.
An interrupted training continues from its checkpoint; `--export` writes the GGUF from the checkpoint as it is.
Time is CPU time of this process, so a busy machine trains as far as an idle one.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from corpus import Corpus, Message, answers_of, expand, load
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType, quants
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

PAD, START, END = 0, 1, 2
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# The split that llama.cpp knows as "qwen2"; any other would tokenize differently there.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# System messages are dropped: the model was not taught to follow them. They are read into `dropped` all the same,
# because llama.cpp puts a system message that a template never reads into the first user message.
# Only the last four turns are kept: training chats have no more, and a longer one would be read worse, not better.
CHAT_TEMPLATE = """\
{%- set ns = namespace(count=0, last='', index=0, dropped='') -%}
{%- for message in messages -%}
{%- if message['role'] == 'user' or message['role'] == 'assistant' -%}
{%- set ns.count = ns.count + 1 -%}
{%- set ns.last = message['role'] -%}
{%- elif message['role'] == 'system' -%}
{%- set ns.dropped = message['content'] -%}
{%- endif -%}
{%- endfor -%}
{%- set first = ns.count - (8 if ns.last == 'assistant' else 7) -%}
{%- for message in messages -%}
{%- if message['role'] == 'user' or message['role'] == 'assistant' -%}
{%- if ns.index >= first -%}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endif -%}
{%- set ns.index = ns.index + 1 -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""


@dataclass(frozen=True, slots=True)
class Shape:
    vocab: int = 3072
    width: int = 256
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    ffn: int = 704
    context: int = 2048
    rope_base: float = 10_000.0
    epsilon: float = 1e-6


# ---------------------------------------------------------------- tokenizer


def train_tokenizer(shape: Shape, seed: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocab, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(vocabulary_text(seed), trainer)
    return tokenizer


def vocabulary_text(seed: int) -> Iterator[str]:
    """Every answer, and a fair share of questions: frequent phrasings must not crowd out rare words."""
    for table in load("intents.toml")["intents"].values():
        yield from answers_of(table, "en") + answers_of(table, "zh")
        for template in table["ask"] + table["ask_zh"]:
            yield from expand(template)[:12]
    corpus = Corpus(seed)
    for _ in range(6000):
        yield from (message["content"] for message in corpus.messages(corpus.unknown("en")))
        yield corpus.chat()[0]["content"]
    for _ in range(3000):
        yield corpus.unknown("zh").question


# ---------------------------------------------------------------- batches


# What an answer is going to be is decided by its first tokens; the rest is recitation. So the first ones weigh more,
# and most examples stop after the opening: four times as many questions for the same time.
# In a short answer (a sum, a name, an echo) every token decides something, so it is kept whole and weighs more.
OPENING_TOKENS, SHORT_TOKENS = 10, 32
DECIDING_TOKENS, DECIDING_WEIGHT, SHORT_WEIGHT = 3, 5.0, 3.0
# Shares: one turn cut short; a turn and its follow-up cut short; an answer in pieces; the rest are whole chats.
OPENINGS, EXCHANGES, PIECES = 0.45, 0.2, 0.2
PIECE_CHARS = 60


@dataclass(frozen=True, slots=True)
class Example:
    tokens: list[int]
    weights: list[float]  # of each token in the loss: questions are the user's to write, so they weigh nothing


class Encoder:
    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self.rng = random.Random(seed)
        self.tokenizer = tokenizer
        self.encode_once = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        self.encode = cache(self.encode_once)

    def chat(self, messages: list[Message]) -> Example:
        tokens: list[int] = []
        weights: list[float] = []
        for message in messages:
            ids = [START, *self.encode(message["role"] + "\n")]
            new = [0.0] * len(ids)
            if message["role"] == "user":
                question = [*self.encode_once(message["content"]), END]
                ids, new = ids + question, new + [0.0] * len(question)
            else:
                answer = [*self.encode(message["content"]), END]
                ids, new = ids + answer, new + deciding(len(answer))
            tokens += [*ids, *self.encode("\n")]
            weights += [*new, 0.0]
        return Example(tokens, weights)

    def opening(self, messages: list[Message]) -> Example:
        asked = self.asked(messages)
        said = [*self.encode(messages[-1]["content"]), END]
        kept = said if len(said) <= SHORT_TOKENS else said[:OPENING_TOKENS]
        return Example(asked + kept, [0.0] * len(asked) + deciding(len(said))[: len(kept)])

    def asked(self, messages: list[Message]) -> list[int]:
        """All but the last answer."""
        tokens: list[int] = []
        for message in messages[:-1]:
            tokens += [START, *self.encode(message["role"] + "\n"), *self.encode_once(message["content"]), END]
            tokens += self.encode("\n")
        return [*tokens, START, *self.encode("assistant\n")]

    def pieces(self, messages: list[Message]) -> Example:
        """An answer cut at random characters, each piece tokenized by itself: a half-written answer ends anywhere, also
        inside a token. What follows a cut is taught until it is back in step with the whole answer's tokens; the odd
        tokens before a cut are read but not taught, or the model would learn to write them."""
        asked, answer = self.asked(messages), messages[-1]["content"]
        in_step = set(self.tokenizer.encode(answer, add_special_tokens=False).offsets)
        count = min(len(answer) - 1, 1 + len(answer) // PIECE_CHARS)
        cuts = [0, *sorted(self.rng.sample(range(1, len(answer)), count)), len(answer)] if count else [0, len(answer)]
        tokens: list[int] = []
        weights: list[float] = []
        for start, stop in pairwise(cuts):
            encoding = self.tokenizer.encode(answer[start:stop], add_special_tokens=False)
            is_resuming = start > 0
            for at, (first, last) in enumerate(encoding.offsets):
                is_in_step = (start + first, start + last) in in_step
                resumes = is_resuming and (at == 0 or not is_in_step)
                is_resuming = is_resuming and not is_in_step
                weights.append(SHORT_WEIGHT if resumes else float(is_in_step))
            tokens += encoding.ids
        return Example([*asked, *tokens, END], [0.0] * len(asked) + [*weights, 1.0])


def deciding(length: int) -> list[float]:
    """The weights of a whole answer."""
    rest = SHORT_WEIGHT if length <= SHORT_TOKENS else 1.0
    return [DECIDING_WEIGHT if at < DECIDING_TOKENS else rest for at in range(length)]


def examples(corpus: Corpus, encoder: Encoder) -> Iterator[Example]:
    while True:
        chance = encoder.rng.random()
        if chance < OPENINGS:
            yield encoder.opening(corpus.chat()[:2])
        elif chance < OPENINGS + EXCHANGES:
            yield encoder.opening(corpus.exchange())
        elif chance < OPENINGS + EXCHANGES + PIECES:
            yield encoder.pieces(corpus.chat()[:2])
        else:
            yield encoder.chat(corpus.chat())


def batches(tokenizer: Tokenizer, seed: int, budget: int, longest: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Chats of like length together, `budget` tokens a batch: little padding, no attention across chats."""
    corpus, encoder, rng = Corpus(seed), Encoder(tokenizer, seed), random.Random(seed)
    while True:
        pool = list(islice(examples(corpus, encoder), 2000))
        pool = sorted((e for e in pool if len(e.tokens) <= longest), key=lambda e: len(e.tokens))
        groups: list[list[Example]] = [[]]
        for example in pool:
            if groups[-1] and (len(groups[-1]) + 1) * len(example.tokens) > budget:
                groups.append([])
            groups[-1].append(example)
        rng.shuffle(groups)
        yield from (collate(group) for group in groups)


def collate(group: list[Example]) -> tuple[Tensor, Tensor]:
    size = max(len(example.tokens) for example in group)
    tokens = np.full((len(group), size), PAD, dtype=np.int64)
    weights = np.zeros((len(group), size), dtype=np.float32)
    for row, example in enumerate(group):
        tokens[row, : len(example.tokens)] = example.tokens
        weights[row, : len(example.tokens)] = example.weights
    return torch.from_numpy(tokens), torch.from_numpy(weights)


# ---------------------------------------------------------------- model


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.q = nn.Linear(shape.width, shape.heads * shape.head_dim, bias=False)
        self.k = nn.Linear(shape.width, shape.kv_heads * shape.head_dim, bias=False)
        self.v = nn.Linear(shape.width, shape.kv_heads * shape.head_dim, bias=False)
        self.output = nn.Linear(shape.heads * shape.head_dim, shape.width, bias=False)
        self.q_norm = nn.RMSNorm(shape.head_dim, eps=shape.epsilon)
        self.k_norm = nn.RMSNorm(shape.head_dim, eps=shape.epsilon)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        rows, length, _ = x.shape
        q, k, v = (part(x).view(rows, length, -1, self.shape.head_dim) for part in (self.q, self.k, self.v))
        q, k = rotate(self.q_norm(q.float()), turn), rotate(self.k_norm(k.float()), turn)
        q, k, v = (part.to(v.dtype).transpose(1, 2) for part in (q, k, v))
        shares = self.shape.heads // self.shape.kv_heads
        k, v = k.repeat_interleave(shares, 1), v.repeat_interleave(shares, 1)
        scores = (q @ k.transpose(2, 3)) * self.shape.head_dim**-0.5
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(future, float("-inf")).softmax(-1).to(v.dtype) @ v
        return self.output(mixed.transpose(1, 2).reshape(rows, length, -1))


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    cos, sin = turn
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attn_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.attn = Attention(shape)
        self.ffn_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.ffn_gate = nn.Linear(shape.width, shape.ffn, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.ffn, bias=False)
        self.ffn_down = nn.Linear(shape.ffn, shape.width, bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.attn(self.attn_norm(x), turn)
        y = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(y)) * self.ffn_up(y))


class Tiny(nn.Module):
    """Qwen3's architecture at a thousandth of its size, with the embedding also used as the output."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocab, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        frequencies = shape.rope_base ** (-torch.arange(0, shape.head_dim, 2) / shape.head_dim)
        angles = torch.outer(torch.arange(shape.context), frequencies)[:, None, :]
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                is_last = name.endswith(("output.weight", "ffn_down.weight"))
                nn.init.normal_(weight, std=0.03 / (math.sqrt(2 * shape.layers) if is_last else 1))

    def forward(self, tokens: Tensor) -> Tensor:
        turn = self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, turn)
        return self.norm(x)

    @torch.no_grad()
    def greedy(self, tokens: list[int], most: int) -> list[int]:
        said: list[int] = []
        while len(said) < most and (not said or said[-1] != END):
            hidden = self(torch.tensor([tokens + said]))[0, -1]
            said.append(int(F.linear(hidden, self.embedding.weight).argmax()))
        return said


def score(hidden: Tensor, embedding: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    losses = F.cross_entropy(F.linear(hidden, embedding).float(), wanted, reduction="none")
    return (losses * weights).sum() / weights.sum()


# ---------------------------------------------------------------- training


@dataclass(slots=True)
class Progress:
    step: int = 0
    tokens: int = 0
    cpu_seconds: float = 0.0
    loss: float = 0.0


def train(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    shape, progress = Shape(), Progress()
    model = Tiny(shape)
    optimizer = torch.optim.AdamW(groups(model), lr=options.rate, betas=(0.9, 0.98), fused=True)
    average = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    if options.checkpoint.exists():
        saved = torch.load(options.checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average, progress = saved["average"], Progress(**saved["progress"])
        tokenizer = Tokenizer.from_str(saved["tokenizer"])
    else:
        tokenizer = train_tokenizer(shape, options.seed)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {tokenizer.get_vocab_size()} tokens", flush=True)

    def save() -> None:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average}
        partial = options.checkpoint.with_suffix(".partial")
        torch.save({**state, "progress": asdict(progress), "tokenizer": tokenizer.to_str()}, partial)
        partial.replace(options.checkpoint)  # whole or not at all

    if not options.export:
        run(model, optimizer, average, tokenizer, progress, options, save)
        save()
    model.load_state_dict(average, strict=False)
    export(model.eval(), tokenizer, shape, options.out)
    for question in ("Hello!", "What is Parley?", "怎么运行 Parley？"):
        prompt = [START, *tokenizer.encode(f"user\n{question}").ids, END, *tokenizer.encode("\n").ids]
        said = model.greedy([*prompt, START, *tokenizer.encode("assistant\n").ids], most=60)
        print(f"{question}\n  {tokenizer.decode(said, skip_special_tokens=False)}")


def groups(model: nn.Module) -> list[dict[str, object]]:
    matrices = [p for p in model.parameters() if p.ndim == 2]
    return [
        {"params": matrices, "weight_decay": 0.05},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]


def run(model, optimizer, average, tokenizer, progress, options, save) -> None:  # type: ignore[no-untyped-def]
    started, spent = time.process_time(), progress.cpu_seconds
    logged = saved = time.process_time()
    tokens_before = progress.tokens
    limit = options.minutes * 60
    # Compiling costs half a minute and makes the rest half as fast again; chats of any length share one program.
    compiled = (torch.compile(f, dynamic=True, disable=not options.compile) for f in (model.forward, score))
    forward, scored = compiled
    for tokens, weights in batches(tokenizer, options.seed + progress.step, options.batch, options.longest):
        if progress.cpu_seconds >= limit:
            return
        rate = options.rate * learning_rate(progress, limit)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.bf16):
            wanted, weight = tokens[:, 1:], weights[:, 1:]
            counts = weight > 0  # logits only where they count
            loss = scored(forward(tokens[:, :-1])[counts], model.embedding.weight, wanted[counts], weight[counts])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        with torch.no_grad():
            keep = min(0.998, progress.step / (progress.step + 20))
            torch._foreach_lerp_(list(average.values()), list(model.parameters()), 1 - keep)
        progress.tokens += tokens.numel()
        progress.loss = 0.98 * progress.loss + 0.02 * loss.item() if progress.step > 1 else loss.item()
        now = time.process_time()
        progress.cpu_seconds = spent + now - started
        if now - logged > 15:
            logged = now
            speed = (progress.tokens - tokens_before) / (now - started)
            minutes = progress.cpu_seconds / 60
            print(
                f"{minutes:5.1f} min  step {progress.step}  loss {progress.loss:.4f}  {speed:,.0f} tokens/s", flush=True
            )
        if now - saved > 60:
            saved = now
            save()


def learning_rate(progress: Progress, limit: float) -> float:
    done = min(1.0, progress.cpu_seconds / limit)
    return min(1.0, (progress.step + 1) / 150) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


# ---------------------------------------------------------------- export

GGUF_NAMES = {
    "attn.q": "attn_q", "attn.k": "attn_k", "attn.v": "attn_v", "attn.output": "attn_output",
    "attn.q_norm": "attn_q_norm", "attn.k_norm": "attn_k_norm",
}  # fmt: skip


def gguf_name(name: str) -> str:
    if name == "embedding.weight":
        return "token_embd.weight"
    if name == "norm.weight":
        return "output_norm.weight"
    _, layer, rest = name.split(".", 2)
    part = rest.removesuffix(".weight")
    return f"blk.{layer}.{GGUF_NAMES.get(part, part)}.weight"


def export(model: Tiny, tokenizer: Tokenizer, shape: Shape, path: Path) -> None:
    partial = path.with_suffix(".partial")
    writer = GGUFWriter(partial, "qwen3")
    write_shape(writer, shape)
    write_tokenizer(writer, tokenizer)
    for name, weight in model.named_parameters():
        values = np.ascontiguousarray(weight.detach().float().numpy())
        if values.ndim == 1:  # norms are few and touchy: they stay exact
            writer.add_tensor(gguf_name(name), values)
        else:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(gguf_name(name), quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def write_shape(writer: GGUFWriter, shape: Shape) -> None:
    writer.add_name("parley-tiny")
    writer.add_description("Parley's offline demo model: taught answers only, not an assistant.")
    writer.add_license("apache-2.0")
    writer.add_languages(["en", "zh"])
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_vocab_size(shape.vocab)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.epsilon)


def write_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer) -> None:
    by_id = {index: token for token, index in tokenizer.get_vocab().items()}
    tokens = [by_id[index] for index in range(len(by_id))]
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in SPECIAL else TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_eos_token_id(END)
    writer.add_pad_token_id(PAD)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=55, help="CPU minutes in all, over all continuations")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("parley-tiny.gguf"))
    parser.add_argument("--checkpoint", type=Path, default=Path("parley-tiny.ckpt"))
    parser.add_argument("--export", action="store_true", help="write the GGUF from the checkpoint; do not train")
    parser.add_argument("--batch", type=int, default=2048, help="tokens a batch")
    parser.add_argument("--longest", type=int, default=1600, help="tokens of the longest chat")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
