"""What the rails cost and how much text they hold back: `python -m tests.bench.rails`.

Three policies (as shipped, strict, and strict with 10,000 banned terms), each with a hidden system prompt of 3,000
characters, over texts of this file: per token of a stream, and for 4,000 characters as input with the injection score.
Then what importing them adds to a start. CPU time, the best of several rounds, for the machine is rarely alone.
"""

import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from functions.guardrails.policy import STRICT, Policy, load_policy
from functions.guardrails.stream import OutputFilter
from functions.guardrails.validators import InputGuard, build_input_guard

ENGLISH = """A hash table stores pairs of keys and values. To find a value, it computes a number from the key and looks
in the bucket with that number, so on average a look-up takes the same time however many pairs there are. Two keys may
share a bucket; then the table walks through a short list, or tries the next bucket. When it gets too full, at a load
of about 0.75, it is copied into one of twice the size. Python's dict does this from 8 slots upwards (since 3.6 it
keeps the order of insertion). Is it always the right choice? No: for ranges a sorted list or a B-tree is better."""
CHINESE = """哈希表用来保存键和值的对应关系。查找时，先根据键计算出一个数字，再到对应的桶里去找，所以不管里面有多少
数据，平均时间都差不多。两个键可能落在同一个桶里，这时可以沿着一个短链表查找，或者换下一个桶。当装载因子超过0.75左右时，
整个表会被复制到两倍大小的新表中。Python 的 dict 从8个槽位开始（3.6版以后还会保持插入顺序）。它总是最好吗？不是。"""
CODE = """```python
def fibonacci(n: int) -> list[int]:
    values = [0, 1]
    while len(values) < n:
        values.append(values[-1] + values[-2])  # 1, 2, 3, 5, 8, 13
    return values[:n]


if __name__ == "__main__":
    print(fibonacci(20), "http://localhost:8000/v1/models?limit=10")
```
"""
DENSE = """Ann, card 4111 1111 1111 1111, IBAN DE89 3704 0044 0532 0130 00, ssn 536-90-4399, mail ann@example.org,
phone +1 415-555-2671, host 10.20.30.40; order 20240506, total 1,204.50, ref 8823 1190 44;
身份证11010519491231002X，电话13800138000。
"""
LINKS = """Three places to read on: [the tutorial](https://docs.python.org/3/tutorial/datastructures.html#dicts), the
page at https://en.wikipedia.org/wiki/Hash_table and ![a picture](https://upload.example.org/hash-table.svg) of it.
| name | see |
|---|---|
| dict | [source](https://github.com/python/cpython/blob/main/Objects/dictobject.c) |
"""
TEXTS = {"english": ENGLISH, "chinese": CHINESE, "code": CODE, "links": LINKS, "pii-dense": DENSE}
HIDDEN = (
    "You are the assistant of the reading room. Answer in the language of the question, briefly, and say what you do "
    "not know. Do not name other readers. 你是阅览室的助手，请用提问的语言简短回答，不知道就说不知道，不要提到他人。 "
    * 15,
)

TOKEN = re.compile(r" ?[A-Za-z]{1,7}|[0-9]{1,3}|[\u4e00-\u9fff]{1,2}|\s+|.", re.DOTALL)


def policies(folder: Path) -> dict[str, Policy]:
    rng = random.Random(7)
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in "aeiou"]
    words = {"".join(rng.choices(syllables, k=rng.randint(2, 5))) for _ in range(7000)}
    han = {"".join(chr(rng.randint(0x4E00, 0x8FFF)) for _ in range(rng.randint(2, 4))) for _ in range(3000)}
    (folder / "terms.txt").write_text("\n".join(sorted(words | han)), encoding="utf-8")
    strict = STRICT.read_text(encoding="utf-8")
    (folder / "terms.toml").write_text(strict + '[banned_terms]\nfile = "terms.txt"\n', encoding="utf-8")
    return {
        "default": load_policy(None),
        "strict": load_policy(STRICT),
        "+10k terms": load_policy(folder / "terms.toml"),
    }


def microseconds_a_token(policy: Policy, tokens: list[str], rounds: int = 7) -> float:
    best = float("inf")
    for _ in range(rounds):
        rails = OutputFilter(policy, hidden=HIDDEN)
        began = time.process_time_ns()
        for token in tokens:
            rails.push(token)
        rails.finish()
        best = min(best, time.process_time_ns() - began)
    return best / len(tokens) / 1000


def held_back(policy: Policy, tokens: list[str]) -> list[int]:
    """Characters not yet shown, after each token."""
    rails, fed, held = OutputFilter(policy, hidden=HIDDEN), 0, []
    for token in tokens:
        rails.push(token)
        fed += len(token)
        held.append(fed - rails.settled)
    return sorted(held)


def milliseconds_a_text(guard: InputGuard, text: str, rounds: int = 9) -> float:
    """All rails on a whole input, as a message meets them."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time_ns()
        guard.check(text)
        best = min(best, time.process_time_ns() - began)
    return best / 1e6


_IMPORT = """
import sys, time
import functions.chat.messages, functions.settings  # what a start has loaded anyway
began = time.process_time()
from functions.guardrails.policy import load_policy
from functions.guardrails.validators import build_input_guard
policy = load_policy(None)
own = time.process_time()
build_input_guard(policy)
print(own - began, time.process_time() - began)
"""


def seconds_to_import(rounds: int = 3) -> tuple[float, float]:
    """CPU seconds of a fresh process: our own modules and the policy, and with guardrails-ai and the compiled rails."""
    runs = [
        subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(rounds)
    ]
    return min(float(run[0]) for run in runs), min(float(run[1]) for run in runs)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, policy in policies(Path(folder)).items():
            guard = build_input_guard(policy)
            for kind, text in TEXTS.items():
                tokens = TOKEN.findall(text * 20)
                cost, held = microseconds_a_token(policy, tokens), held_back(policy, tokens)
                whole = milliseconds_a_text(guard, (text * 20)[:4000])
                print(  # noqa: T201 - a command
                    f"{name:11} {kind:10} {cost:6.2f} µs/token   held back: mean {sum(held) / len(held):5.1f}"
                    f"  p99 {held[len(held) * 99 // 100]:3}  max {held[-1]:3}   input of 4,000 chars: {whole:.2f} ms"
                )
    own, whole = seconds_to_import()
    print(f"a start: {own:.2f} s of CPU for our modules and the policy, {whole:.2f} s with guardrails-ai")  # noqa: T201


if __name__ == "__main__":
    main()
