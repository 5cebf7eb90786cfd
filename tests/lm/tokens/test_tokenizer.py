"""Text to tokens and back, by symbols or by a library."""

import json

import pytest

from klamp import ConfigError
from klamp.lm.tokens.tokenizer import SymbolTokenizer, read_tokenizer, special_tokens
from klamp.runs.bounded_read import Unreadable

TEXTS = ["12+3=", "ADD dog", "123 12"]


def test_the_longest_symbol_is_taken() -> None:
    tokenizer = SymbolTokenizer(("1", "12", "2", "3", "+", "=", "ADD", " ", "dog"))
    assert tokenizer.encode("12+3=") == [2, 5, 4, 6]
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode([1, 0, 99, 3]) == "12"
    assert read_tokenizer(tokenizer.files()) == tokenizer
    assert (tokenizer.vocabulary, tokenizer.end) == (10, 0)
    with pytest.raises(ConfigError, match="character 4, 'x'"):
        tokenizer.encode("12+x")


@pytest.mark.parametrize("symbols", [("a", "a"), ("a", "")])
def test_symbols_are_different_and_not_empty(symbols: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="each once"):
        SymbolTokenizer(symbols)


def test_a_tokenizer_of_the_library() -> None:
    """A word a token; `<s>` begins every text."""
    tokenizers = pytest.importorskip("tokenizers")
    words = {"<s>": 0, "</s>": 1, "one": 2, "two": 5}
    library = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="one"))
    library.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    library.add_special_tokens(["<s>", "</s>"])
    library.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    library.enable_padding(length=9)
    told = {"eos_token": {"content": "</s>"}, "bos_token": "<s>", "model_max_length": 5}
    files = {
        "tokenizer.json": library.to_str().encode(),
        "tokenizer_config.json": json.dumps(told).encode(),
    }
    tokenizer = read_tokenizer(files)
    assert tokenizer is not None
    assert tokenizer.encode("two one") == [0, 5, 2]
    assert tokenizer.encode("two one", special=False) == [5, 2]
    assert tokenizer.decode([0, 5, 2, 1]) == "two one"
    assert (tokenizer.vocabulary, tokenizer.end) == (6, 1)
    assert tokenizer.files() == {"tokenizer.json": files["tokenizer.json"]}
    assert special_tokens(files) == {"eos_token": "</s>", "bos_token": "<s>"}
    with pytest.raises(Unreadable, match=r"tokenizer\.json is no tokenizer"):
        read_tokenizer({"tokenizer.json": b"{}"})


def test_without_a_tokenizer() -> None:
    assert read_tokenizer({}) is None
