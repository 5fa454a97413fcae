"""What a value from outside must be before anything inside sees it: the field types of the request bodies."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from functions.settings import MEMORY_CHARS, MESSAGE_BYTES, SYSTEM_PROMPT_BYTES, TEMPLATE_BYTES


class Body(BaseModel):
    """A request body: unknown fields are errors, so that a typing mistake is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


def _clean(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL characters")
    return text


def _at_most(limit: int, what: str) -> AfterValidator:
    def check(text: str) -> str:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise ValueError("must be valid Unicode; there is half a surrogate pair in it") from None
        if size > limit:
            raise ValueError(f"is too long: {size} bytes of UTF-8, and a {what} may have {limit}")
        return _clean(text)

    return AfterValidator(check)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError("must be a UUID") from None


Id = Annotated[str, AfterValidator(_uuid)]
MessageText = Annotated[str, _at_most(MESSAGE_BYTES, "message"), AfterValidator(_not_blank)]
SystemPrompt = Annotated[str, _at_most(SYSTEM_PROMPT_BYTES, "system prompt")]
Title = Annotated[str, _at_most(1024, "title"), AfterValidator(_not_blank)]
ShortText = Annotated[str, _at_most(1024, "name")]
ShortQuestion = Annotated[str, _at_most(1024, "question"), AfterValidator(_not_blank)]
MemoryText = Annotated[
    str, Field(max_length=MEMORY_CHARS), _at_most(4 * MEMORY_CHARS, "memory"), AfterValidator(_not_blank)
]
TemplateName = Annotated[str, _at_most(200, "name"), AfterValidator(_not_blank)]
TemplateText = Annotated[str, _at_most(TEMPLATE_BYTES, "template"), AfterValidator(_not_blank)]
KeyName = Annotated[str, _at_most(200, "name"), AfterValidator(_not_blank)]
Comment = Annotated[str, _at_most(4096, "comment")]
StopText = Annotated[str, _at_most(1024, "stop sequence"), AfterValidator(_not_blank)]
