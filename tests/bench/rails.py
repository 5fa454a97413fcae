"""What the output rails cost a token, and how much text they hold back: `python -m tests.bench.rails`.

Three policies (as shipped; all personal data redacted as well; and with 10,000 banned terms) over texts of this file.
CPU time of this process, the best of several rounds, for the machine is rarely alone.
"""

import random
import re
import tempfile
import time
from pathlib import Path

from functions.guardrails.policy import Policy, load_policy
from functions.guardrails.stream import OutputFilter, check_input, check_text

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
TEXTS = {"english": ENGLISH, "chinese": CHINESE, "code": CODE, "pii-dense": DENSE}

TOKEN = re.compile(r" ?[A-Za-z]{1,7}|[0-9]{1,3}|[\u4e00-\u9fff]{1,2}|\s+|.", re.DOTALL)
_STRICT = '[output.pii]\nphone = "redact"\nemail = "redact"\nip = "redact"\n'


def policies(folder: Path) -> dict[str, Policy]:
    rng = random.Random(7)
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in "aeiou"]
    words = {"".join(rng.choices(syllables, k=rng.randint(2, 5))) for _ in range(7000)}
    han = {"".join(chr(rng.randint(0x4E00, 0x8FFF)) for _ in range(rng.randint(2, 4))) for _ in range(3000)}
    (folder / "terms.txt").write_text("\n".join(sorted(words | han)), encoding="utf-8")
    (folder / "strict.toml").write_text(_STRICT, encoding="utf-8")
    (folder / "terms.toml").write_text(_STRICT + '[banned_terms]\nfile = "terms.txt"\n', encoding="utf-8")
    return {
        "default": load_policy(None),
        "all pii": load_policy(folder / "strict.toml"),
        "+10k terms": load_policy(folder / "terms.toml"),
    }


def microseconds_a_token(policy: Policy, tokens: list[str], rounds: int = 7) -> float:
    best = float("inf")
    for _ in range(rounds):
        rails = OutputFilter(policy)
        began = time.process_time_ns()
        for token in tokens:
            rails.push(token)
        rails.finish()
        best = min(best, time.process_time_ns() - began)
    return best / len(tokens) / 1000


def held_back(policy: Policy, tokens: list[str]) -> list[int]:
    """Characters not yet shown, after each token."""
    rails, fed, held = OutputFilter(policy), 0, []
    for token in tokens:
        rails.push(token)
        fed += len(token)
        held.append(fed - rails.settled)
    return sorted(held)


def milliseconds_a_text(policy: Policy, text: str, rounds: int = 9) -> tuple[float, float]:
    """The rails on a whole text, as output and as input, without guardrails-ai around them."""
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for place, check in enumerate((check_text, check_input)):
            began = time.process_time_ns()
            check(policy, text)
            best[place] = min(best[place], time.process_time_ns() - began)
    return best[0] / 1e6, best[1] / 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, policy in policies(Path(folder)).items():
            for kind, text in TEXTS.items():
                tokens = TOKEN.findall(text * 20)
                cost, held = microseconds_a_token(policy, tokens), held_back(policy, tokens)
                output, whole = milliseconds_a_text(policy, (text * 20)[:4000])
                print(  # noqa: T201 - a command
                    f"{name:11} {kind:10} {cost:6.2f} µs/token   held back: mean {sum(held) / len(held):5.1f}"
                    f"  p99 {held[len(held) * 99 // 100]:3}  max {held[-1]:3}"
                    f"   4,000 chars: output {output:.2f} ms, input {whole:.2f} ms"
                )


if __name__ == "__main__":
    main()
