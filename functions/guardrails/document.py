"""A TOML file whose mistakes can be told with their line: fields are asked for one by one, each with what it may be.

What a file does not say is as in the default document. Every complaint is a `PolicyError` that names the file, the
line, the field, and what to write instead. It knows nothing about guardrails.
"""

import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from functions.errors import ParleyError


class PolicyError(ParleyError):
    """The policy file is wrong; the message says where and what to do."""

    code = "bad_policy"


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed TOML file. `default` answers for what it does not mention."""

    path: Path
    source: str
    data: dict[str, Any]  # TOML: any value; the methods below check each
    default: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, default: "Document | None" = None) -> "Document":
        try:
            source = path.read_text(encoding="utf-8")
            data = tomllib.loads(source)
        except OSError as exc:
            raise PolicyError(f"{path}: cannot read the policy: {exc.strerror or exc}") from exc
        except UnicodeDecodeError as exc:
            raise PolicyError(f"{path}: the policy must be UTF-8 text") from exc
        except tomllib.TOMLDecodeError as exc:  # its message ends with the line and the column
            raise PolicyError(f"{path}: not valid TOML: {exc}") from exc
        return cls(path, source, data, default.data if default else data)

    # -- what is wrong, and where -----------------------------------------------------------------------------

    def error(self, table: str, key: str, what: str) -> PolicyError:
        name = f"[{table}] {key}".strip() if table else key
        return PolicyError(f"{self.path}, line {self.line(table, key)}: {name}: {what}")

    def line(self, table: str, key: str = "") -> int:
        """The line of `key` under `[table]`, else of the table's header, else 1."""
        header, found = "", 1
        for number, text in enumerate(self.source.splitlines(), 1):
            if match := re.match(r"\s*\[([^\]]+)\]", text):
                header = match[1].replace(" ", "")
                if header == table or (found == 1 and header.startswith(table)):
                    found = number
            name = re.match(r"\s*[\"']?([\w.-]+)[\"']?\s*=", text)
            if name and key and ".".join(filter(None, (header, name[1]))) == f"{table}.{key}".strip("."):
                return number
        return found

    # -- fields -----------------------------------------------------------------------------------------------

    def table(self, table: str) -> dict[str, Any]:
        """The table as written; {} when absent."""
        value: Any = self.data
        path: list[str] = []
        for part in filter(None, table.split(".")):
            value = value.get(part, {})
            if not isinstance(value, dict):
                what = f"must be a table: write [{'.'.join((*path, part))}] and the fields below it"
                raise self.error(".".join(path), part, what)
            path.append(part)
        return cast("dict[str, Any]", value)

    def known(self, table: str, fields: Collection[str]) -> dict[str, Any]:
        """The table, which must have no other fields."""
        values = self.table(table)
        for key in values:
            if key not in fields:
                raise self.error(table, key, f"unknown; use one of: {', '.join(sorted(fields))}")
        return values

    def value(self, table: str, key: str) -> Any:
        """As written, else as in the default document, else None."""
        values = self.table(table)
        if key in values:
            return values[key]
        fallback: Any = self.default
        for part in table.split("."):
            fallback = fallback.get(part, {})
        return fallback.get(key)

    def choice(self, table: str, key: str, allowed: Collection[str]) -> str:
        value = self.value(table, key)
        if value not in allowed:
            raise self.error(table, key, f"{value!r} is no choice here; use one of: {', '.join(allowed)}")
        return cast("str", value)

    def whole(self, table: str, key: str, least: int, most: int) -> int:
        value = self.value(table, key)
        if type(value) is not int or not least <= value <= most:
            raise self.error(table, key, f"{value!r} must be a whole number from {least} to {most}")
        return value

    def share(self, table: str, key: str) -> float | None:
        """A number from 0 to 1, or "off" for None."""
        value = self.value(table, key)
        if value == "off":
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise self.error(table, key, f'{value!r} must be a number from 0 to 1, or "off"')
        return float(value)

    def strings(self, table: str, key: str) -> tuple[str, ...]:
        value = self.value(table, key)
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self.error(table, key, 'must be a list of strings, e.g. ["one", "two"]')
        return tuple(value)

    def sentence(self, table: str, key: str) -> str:
        value = self.value(table, key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(table, key, "must be a sentence in quotes")
        return value
