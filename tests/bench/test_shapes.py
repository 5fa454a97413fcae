"""The limits of the GPU table are right: checked against what is known of the models, and by hand."""

import json
from pathlib import Path

import pytest

import modal_app
from tests.bench.shapes import SHAPES, write_shape

DEPLOYED = {"qwen3-4b": modal_app.EVERYDAY, "qwen3-30b-a3b": modal_app.CAPABLE}
ALL = 10_000  # streams: then every expert is picked


@pytest.mark.parametrize("name", DEPLOYED)
def test_a_shape_is_as_large_as_the_files_of_its_model(name: str) -> None:
    """The files hold one matrix more than a step reads: words in, beside words out (also where the two are one)."""
    shape, model = SHAPES[name], DEPLOYED[name]

    files_gb = (shape.weights_read(ALL) + 2 * shape.hidden * shape.vocabulary) / 1e9

    assert files_gb == pytest.approx(model.weights_gb, rel=0.01)
    assert shape.kv_bytes_per_token == model.kv_bytes_per_token


def test_alone_a_mixture_of_experts_reads_only_its_own() -> None:
    moe = SHAPES["qwen3-30b-a3b"]

    assert moe.weights_read(1) == pytest.approx(3.3e9, rel=0.03)  # "A3B": 3.3 billion, most of them a byte each
    assert moe.weights_read(1) < moe.weights_read(8) < moe.weights_read(32) < moe.weights_read(ALL)


def test_a_longer_context_lowers_the_limit_and_company_raises_it() -> None:
    dense = SHAPES["qwen3-4b"]

    assert dense.limit_tokens_per_s(1, 0, 300e9) == pytest.approx(300e9 / dense.weights_read(1))
    assert dense.limit_tokens_per_s(1, 8000, 300e9) < dense.limit_tokens_per_s(1, 1000, 300e9)
    assert 7 < dense.limit_tokens_per_s(8, 100, 300e9) / dense.limit_tokens_per_s(1, 100, 300e9) < 8


def test_every_token_of_the_stretched_vocabulary_has_a_text(tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.mkdir()
    (words / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": 0, "Ġthe": 1}}}))
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        (words / name).write_text("{}")

    folder = write_shape(SHAPES["tiny"], tmp_path / "tiny", words)

    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(SHAPES["tiny"].vocabulary))
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["Qwen3ForCausalLM"]
