"""Text to tokens and back: a list of symbols for built-in tasks, or a model's `tokenizer.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from klamp.errors import ConfigError, install_extra, one_line, printable, shown
from klamp.runs.bounded_read import Unreadable, parse_object

SYMBOLS, TOKENIZER = "symbols.json", "tokenizer.json"


class Tokenizer(Protocol):
    """Text to token ids and back."""

    @property
    def vocabulary(self) -> int:
        """One more than the largest id."""
        ...

    @property
    def end(self) -> int | None:
        """The token that ends a text; None where the tokenizer does not know."""
        ...

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """The ids of a text; with ``special`` also what the tokenizer puts around every text."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ids, without tokens that are no text."""
        ...

    def files(self) -> dict[str, bytes]:
        """What a model's folder keeps of it, by the files' names."""
        ...


@dataclass(frozen=True)
class SymbolTokenizer:
    """Each symbol, a character or a word, is one token; id 0 ends a text.

    A text is cut from its beginning into the longest symbols that fit.
    """

    symbols: tuple[str, ...]
    """Of the ids 1, 2, …; all different, none empty."""

    def __post_init__(self) -> None:
        if "" in self.symbols or len(set(self.symbols)) < len(self.symbols):
            raise ConfigError(
                f"The symbols of a tokenizer are {shown(self.symbols)}: expected texts that are "
                "not empty, each once."
            )

    @property
    def vocabulary(self) -> int:
        """The symbols and the end."""
        return len(self.symbols) + 1

    @property
    def end(self) -> int:
        """Id 0."""
        return 0

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """The ids of a text. Raises ``ConfigError`` where it has what is no symbol."""
        tokens, start = [], 0
        longest = sorted(range(len(self.symbols)), key=lambda i: -len(self.symbols[i]))
        while start < len(text):
            found = next((i for i in longest if text.startswith(self.symbols[i], start)), None)
            if found is None:
                raise ConfigError(
                    f"The text {shown(text)} has no symbol at its character {start + 1}, "
                    f"{shown(text[start])}. Expected only {shown(self.symbols, 200)}."
                )
            tokens.append(found + 1)
            start += len(self.symbols[found])
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """The symbols one after another; ids that are no symbol are left out."""
        return "".join(self.symbols[t - 1] for t in tokens if 1 <= t <= len(self.symbols))

    def files(self) -> dict[str, bytes]:
        """`symbols.json`."""
        return {SYMBOLS: json.dumps({"symbols": self.symbols}, ensure_ascii=False).encode()}


@dataclass(frozen=True)
class LibraryTokenizer:
    """A `tokenizer.json`, by the library `tokenizers`."""

    source: bytes
    """The file."""
    tokenizer: Any
    """The library's own object."""
    end: int | None

    @property
    def vocabulary(self) -> int:
        """One more than the largest id."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """The ids of a text; with ``special`` also a token that begins every text, if any."""
        return self.tokenizer.encode(text, add_special_tokens=special).ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of ids, without special tokens."""
        return self.tokenizer.decode([int(token) for token in tokens], skip_special_tokens=True)

    def files(self) -> dict[str, bytes]:
        """`tokenizer.json`, as it was."""
        return {TOKENIZER: self.source}


def read_tokenizer(files: Mapping[str, bytes]) -> Tokenizer | None:
    """The tokenizer among the files of a model's folder; None without one.

    Raises ``Unreadable`` for a damaged one, ``ConfigError`` where `tokenizers` is not installed.
    """
    if SYMBOLS in files:
        symbols = parse_object(files[SYMBOLS], SYMBOLS).get("symbols")
        if not isinstance(symbols, list) or not all(isinstance(each, str) for each in symbols):
            raise Unreadable(f"{SYMBOLS} holds no list of texts by the name of symbols")
        return SymbolTokenizer(tuple(symbols))
    if TOKENIZER not in files:
        return None
    try:
        import tokenizers  # noqa: PLC0415  # pyright: ignore
    except ImportError as error:
        raise ConfigError(
            "This model's tokenizer needs the library `tokenizers`, which is not installed. "
            f"{install_extra('lm')}"
        ) from error
    source = files[TOKENIZER]
    try:
        tokenizer = tokenizers.Tokenizer.from_str(source.decode())
    except Exception as error:
        raise Unreadable(
            f"{TOKENIZER} is no tokenizer: {printable(one_line(error).rstrip('.'), 200)}"
        ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    end = special_tokens(files).get("eos_token")
    return LibraryTokenizer(source, tokenizer, None if end is None else tokenizer.token_to_id(end))


def special_tokens(files: Mapping[str, bytes]) -> dict[str, str]:
    """The texts of special tokens, such as `eos_token`, by `tokenizer_config.json`."""
    name = "tokenizer_config.json"
    told = parse_object(files[name], name) if name in files else {}
    texts = {n: v.get("content") if isinstance(v, dict) else v for n, v in told.items()}
    return {n: v for n, v in texts.items() if n.endswith("_token") and isinstance(v, str)}
