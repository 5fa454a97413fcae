"""Settings that could not be meant are refused at the start, by name, and without repeating what may be a key."""

import pytest
from pydantic import ValidationError

from functions.settings import Settings

SECRET = "sk-very-secret"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("NODES", f'[{{"url": "http://x:99999/v1", "api_key": "{SECRET}"}}]', "nodes.0.url"),
        ("NODES", f'[{{"url": "http://[x/v1", "api_key": "{SECRET}"}}]', "nodes.0.url"),
        ("NODES", f'[{{"url": "http://x/v1", "api_key": "{SECRET}\\nX: y"}}]', "nodes.0.api_key"),
        ("NODES", '[{"url": "http://x/v1", "idle_seconds": Infinity}]', "nodes.0.idle_seconds"),
        ("NODES", '[{"url": "http://x/v1", "idle_seconds": 86400}]', "nodes.0.idle_seconds"),
        ("NODES", '[{"url": "http://x/v1", "usd_per_hour": NaN}]', "nodes.0.usd_per_hour"),
        ("NODE_KEY", f"{SECRET}\n{SECRET}", "node_key"),
        ("NODE_KEY", f"{SECRET}-\u00e9", "node_key"),
        ("VALKEY_URL", f"http://:{SECRET}@10.0.0.9", "valkey_url"),
        ("VALKEY_URL", f"valkeys://:{SECRET}@", "valkey_url"),
        ("VALKEY_URL", f"valkeys://:{SECRET}@10.0.0.9:99999", "valkey_url"),
        ("VALKEY_URL", "unix://", "valkey_url"),
        ("PREWARM_USD_PER_DAY", "nan", "prewarm_usd_per_day"),
        ("PREWARM_USD_PER_DAY", "inf", "prewarm_usd_per_day"),
        ("PREWARM_USD_PER_DAY", "-1", "prewarm_usd_per_day"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_named(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PARLEY_{name}", value)
    with pytest.raises(ValidationError) as caught:
        Settings()

    assert says in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_keys_line_end_is_not_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_NODE_KEY", f" {SECRET}\n")

    assert Settings().node_key == SECRET
