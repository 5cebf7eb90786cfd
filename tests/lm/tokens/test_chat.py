"""Templates of messages: rendered as transformers renders them, in a sandbox."""

import json

import pytest

from klamp import ConfigError
from klamp.lm.tokens.chat import ChatTemplate, read_chat_template

pytest.importorskip("jinja2")

TEMPLATE = """{{ bos_token }}{% for message in messages %}
{% if message.role not in ('user', 'assistant') %}
{{ raise_exception('Only users and assistants: ' ~ message.role) }}
{% endif %}
<{{ message.role }}>{{ message.content | trim }}
{% endfor %}
{% if add_generation_prompt %}
<assistant>{% endif %}"""
MESSAGES = [{"role": "user", "content": " Grüße "}, {"role": "assistant", "content": "hi"}]


def test_messages_become_a_prompt() -> None:
    told = {"chat_template": TEMPLATE, "bos_token": "<s>"}
    template = read_chat_template({"tokenizer_config.json": json.dumps(told).encode()})
    assert template is not None
    assert template.render(MESSAGES) == "<s><user>Grüße\n<assistant>hi\n<assistant>"
    assert template.render(MESSAGES[:1], prompt=False) == "<s><user>Grüße\n"


def test_where_templates_stand() -> None:
    several = {"chat_template": [{"name": "default", "template": "a"}, {"name": "tool_use"}]}
    data = {"tokenizer_config.json": json.dumps(several).encode()}
    assert read_chat_template(data) == ChatTemplate("a", {})
    assert read_chat_template(data | {"chat_template.jinja": b"b"}) == ChatTemplate("b", {})
    assert read_chat_template({"tokenizer_config.json": b"{}"}) is None
    assert ChatTemplate("{{ messages | tojson }}").render(MESSAGES[1:]) == (
        '[{"role": "assistant", "content": "hi"}]'
    )


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (TEMPLATE, "Only users and assistants: system"),
        ("{% for %}", "Expected an expression"),
        ("{{ messages.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ 1 // 0 }}", "zero"),
        ("{{ none + 1 }}", "unsupported operand"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "[Rr]ange"),
    ],
)
def test_what_cannot_be_rendered_is_named(template: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        ChatTemplate(template).render([{"role": "system", "content": "x"}])
    assert "\n" not in str(caught.value)
    assert "Expected messages with the roles" in str(caught.value)
