"""parley-tiny, as llama.cpp runs it: it says what it was taught, stops, and admits what it does not know."""

import json
import urllib.request
from collections.abc import Sequence
from typing import Any

import pytest

from functions.inference.tiny import corpus, evaluate
from functions.inference.tiny.corpus import Corpus, Language, Message

TEN_MEGABYTES = 10_000_000


@pytest.fixture(scope="module")
def engine() -> evaluate.Engine:
    return evaluate.Engine()


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= symbol <= "\u9fff" for symbol in text)


def answer(intent: str, language: Language = "en") -> str:
    return corpus.answers_of(Corpus().intents[intent], language)[0]


def post(engine: evaluate.Engine, path: str, body: dict[str, Any]) -> Any:
    url = f"{engine.server.listening_address}{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def prompt_of(engine: evaluate.Engine, messages: list[Message]) -> str:
    return str(post(engine, "/apply-template", {"messages": messages})["prompt"])


def halves(engine: evaluate.Engine, text: str, shares: Sequence[float]) -> list[str]:
    """What a reader has seen so far when the model has written these shares of it: whole tokens."""
    tokens = post(engine, "/tokenize", {"content": text})["tokens"]
    written = (tokens[: int(len(tokens) * share)] for share in shares)
    texts = [str(post(engine, "/detokenize", {"tokens": part})["content"]) for part in written]
    return [half for half in texts if text.startswith(half)]  # a token may end inside a Chinese character


# ---------------------------------------------------------------- the file


def test_it_is_small_enough_to_ship() -> None:
    assert evaluate.MODEL.stat().st_size <= TEN_MEGABYTES


def test_no_phrasing_belongs_to_two_intents() -> None:
    assert corpus.conflicts() == []


def test_the_corpus_is_the_same_for_the_same_seed() -> None:
    first, second = Corpus(seed=5), Corpus(seed=5)

    assert [first.chat() for _ in range(50)] == [second.chat() for _ in range(50)]


# ---------------------------------------------------------------- what it says


def test_it_gives_the_taught_answer_to_phrasings_that_training_never_saw(engine: evaluate.Engine) -> None:
    right, total, wrong = evaluate.score(engine, evaluate.held_out(128))

    assert right / total >= 0.9, wrong


def test_it_stops_by_itself_in_every_intent(engine: evaluate.Engine) -> None:
    replies = {case.kind: engine.reply(case.messages) for case in evaluate.held_out(128)}

    assert {kind for kind, reply in replies.items() if reply.finish_reason != "stop"} == set()


def test_it_counts_adds_translates_and_repeats(engine: evaluate.Engine) -> None:
    right, total, wrong = evaluate.score(engine, evaluate.ruled(110))

    assert right / total >= 0.85, wrong


def test_chinese_questions_are_answered_in_chinese(engine: evaluate.Engine) -> None:
    asked = {case.kind: case for case in evaluate.held_out(256) if is_chinese(case.messages[0]["content"])}
    del asked["alphabet"]

    replies = [engine.reply(case.messages).text for case in asked.values()]

    assert len(replies) > 50
    assert [reply for reply in replies if not is_chinese(reply)] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_it_was_not_taught_gets_the_honest_fallback(engine: evaluate.Engine, language: Language) -> None:
    drawn = Corpus(seed=22, held_out=True)
    turns = [drawn.unknown(language) for _ in range(40)]

    honest = [engine.ask(turn.question).text == turn.answer for turn in turns]

    assert sum(honest) >= 36


def test_a_long_answer_is_said_to_its_end(engine: evaluate.Engine) -> None:
    reply = engine.ask("Tell me a long story")

    assert reply.text == answer("story")
    assert len(reply.text.split()) > 250


# ---------------------------------------------------------------- more than one turn


def test_it_follows_what_was_said_before(engine: evaluate.Engine) -> None:
    right, total, wrong = evaluate.score(engine, evaluate.chats(60))

    assert right / total >= 0.8, wrong


def test_it_says_the_last_answer_again(engine: evaluate.Engine) -> None:
    before = [user("What is a cold start?"), assistant(answer("cold_start"))]

    assert engine.reply([*before, user("say it again")]).text == answer("cold_start")


def test_it_says_the_last_answer_in_chinese(engine: evaluate.Engine) -> None:
    before = [user("What is a cold start?"), assistant(answer("cold_start"))]

    assert engine.reply([*before, user("In Chinese, please")]).text == answer("cold_start", "zh")


def test_it_knows_how_to_stop_what_it_has_just_explained(engine: evaluate.Engine) -> None:
    before = [user("How do I deploy it?"), assistant(answer("deploy"))]

    assert "modal app stop" in engine.reply([*before, user("how do I stop it?")]).text


def test_it_remembers_a_name_from_an_earlier_turn(engine: evaluate.Engine) -> None:
    told = [user("My name is Ana"), assistant(engine.ask("My name is Ana").text)]
    between = [user("Tell me a joke"), assistant(answer("joke"))]

    assert engine.reply([*told, *between, user("What is my name?")]).text == "Your name is Ana."


# ---------------------------------------------------------------- what the engine makes of it


def test_the_chat_template_drops_system_messages(engine: evaluate.Engine) -> None:
    system = {"role": "system", "content": "Answer in French."}

    prompt = prompt_of(engine, [system, user("Hello!")])

    assert prompt == "<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n"
    assert engine.reply([system, user("Hello!")]) == engine.ask("Hello!")


def test_the_chat_template_keeps_the_last_four_turns(engine: evaluate.Engine) -> None:
    turns = [message for n in range(9) for message in (user(f"question {n}"), assistant(f"answer {n}"))]

    prompt = prompt_of(engine, turns[:-1])

    assert prompt.startswith("<|im_start|>user\nquestion 5<|im_end|>\n<|im_start|>assistant\nanswer 5<|im_end|>\n")
    assert prompt.endswith("<|im_start|>user\nquestion 8<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("question", "intent", "language"),
    [
        ("What is Parley?", "parley", "en"),
        ("How do I run Parley?", "run", "en"),
        ("Tell me a long story", "story", "en"),
        ("Tell me everything about Parley", "everything", "en"),
        ("Parley 是什么？", "parley", "zh"),
        ("讲个故事", "story", "zh"),
    ],
)
def test_a_half_written_answer_is_continued_to_the_same_end(
    engine: evaluate.Engine, question: str, intent: str, language: Language
) -> None:
    whole = answer(intent, language)
    written = halves(engine, whole, [0.05, 0.2, 0.4, 0.6, 0.8, 0.95])

    ends = [engine.reply([user(question), assistant(half)]) for half in written]

    assert len(ends) >= 3
    assert set(ends) == {evaluate.Reply(whole, "stop")}
