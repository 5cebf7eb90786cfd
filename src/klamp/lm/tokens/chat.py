"""Messages as one prompt, by the template that a model's folder brings along."""

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from klamp.errors import ConfigError, install_extra, one_line, printable, shown
from klamp.lm.tokens.tokenizer import special_tokens
from klamp.runs.bounded_read import Unreadable, parse_object

Message = Mapping[str, Any]
"""At least a `role` (such as `user`) and a `content`."""


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja template of messages, rendered in Jinja's sandbox with what transformers gives it."""

    source: str
    special: Mapping[str, str] = field(default_factory=dict[str, str])
    """Texts of special tokens that the template may name."""

    def render(self, messages: Sequence[Message], *, prompt: bool = True) -> str:
        """The text of a conversation, ``prompt``-ing the assistant to go on.

        Special tokens are part of it: encode it with ``special=False``. Raises ``ConfigError``
        where the template cannot be rendered, or refuses the messages.
        """
        try:
            from jinja2 import TemplateError  # noqa: PLC0415  # pyright: ignore
            from jinja2.ext import loopcontrols  # noqa: PLC0415  # pyright: ignore
            from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415  # pyright: ignore
        except ImportError as error:
            raise ConfigError(
                "Prompts of messages need the library `jinja2`, which is not installed. "
                f"{install_extra('lm')} Or give prompts as text."
            ) from error

        def refuse(text: str) -> None:
            raise TemplateError(text)

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        names: dict[str, Any] = environment.globals
        names |= {"raise_exception": refuse, "strftime_now": _now}
        try:
            return environment.from_string(self.source).render(
                messages=list(messages), add_generation_prompt=prompt, **self.special
            )
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            text = printable(one_line(error), 300)
            raise ConfigError(
                f"The model's chat template cannot render the messages {shown(list(messages))}: "
                f"{text} Expected messages with the roles and fields that the model was trained "
                "with; or give the prompt as text."
            ) from error


def _now(form: str) -> str:
    return datetime.datetime.now().strftime(form)


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def read_chat_template(files: Mapping[str, bytes]) -> ChatTemplate | None:
    """The template among the files of a model's folder; None without one."""
    if (data := files.get("chat_template.jinja")) is not None:
        try:
            return ChatTemplate(data.decode(), special_tokens(files))
        except UnicodeDecodeError as error:
            raise Unreadable(f"chat_template.jinja is not UTF-8 at byte {error.start}") from error
    name = "tokenizer_config.json"
    told: Any = parse_object(files[name], name).get("chat_template") if name in files else None
    if isinstance(told, list):
        named = {each.get("name"): each.get("template") for each in told if isinstance(each, dict)}
        told = named.get("default")
    return ChatTemplate(told, special_tokens(files)) if isinstance(told, str) else None
