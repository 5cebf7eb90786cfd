"""The pages against the source, as text: the map's functions, tables of settings, navigation."""

import ast
import os
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "klamp"
MODULES = {
    "reinforce": "reinforce",
    "a2c": "a2c",
    "npg": "npg",
    "trpo": "trpo",
    "ppo": "ppo",
    "ppo-kl": "ppo_penalty",
}
TABLE = "| setting | default | what it is |\n|---|---|---|\n"


@cache
def defined(path: Path) -> frozenset[str]:
    """The functions and classes of a module, and `Class.method`."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{of.name}" for of in node.body if isinstance(of, ast.FunctionDef)
            }
    return frozenset(found)


def test_every_function_of_the_map_is_there() -> None:
    rows = [line for line in (DOCS / "map.md").read_text().splitlines() if line.startswith("|")]
    named = re.findall(r"`([\w/]+\.py):([\w.]+)`", "\n".join(rows))
    assert len(named) > 60
    wrong = [f"{path}:{name}" for path, name in named if name not in defined(SOURCE / path)]
    assert wrong == []
    bare = [row for row in rows if "`" not in row.rpartition("| ")[2] and "---" not in row]
    assert all(row.rpartition("| ")[2].startswith("where") for row in bare), bare


def settings_table(module: str) -> str:
    """Name, default and docstring of each field of an algorithm's config."""
    tree = ast.parse(
        (SOURCE / "config" / "algorithms" / f"{module}.py").read_text(encoding="utf-8")
    )
    (kind,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    rows: list[str] = []
    for field, doc in zip(kind.body, kind.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and field.value is not None:
            assert isinstance(doc, ast.Expr)
            assert isinstance(doc.value, ast.Constant)
            default = ast.unparse(field.value).replace("None", "unset").strip("'")
            words = " ".join(str(doc.value.value).split()).replace("|", "\\|")
            rows.append(f"| `{ast.unparse(field.target)}` | {default} | {words} |\n")
    return TABLE + "".join(rows)


@pytest.mark.parametrize("name", MODULES)
def test_the_settings_of_an_algorithm_are_those_of_its_dataclass(name: str) -> None:
    """`KLAMP_STORE_MESSAGES=1` writes the table anew, as it does stored messages."""
    page, wanted = DOCS / "algorithms" / f"{name}.md", settings_table(MODULES[name])
    text = page.read_text(encoding="utf-8")
    (stands,) = re.findall(re.escape(TABLE) + r"(?:\|.*\n)*", text)
    if os.environ.get("KLAMP_STORE_MESSAGES"):
        page.write_text(text.replace(stands, wanted), encoding="utf-8")
    else:
        assert stands == wanted


@pytest.mark.parametrize(
    ("package", "page"), [("klamp", "api.md"), ("klamp.lm", "api-language.md")]
)
def test_the_api_page_has_every_public_name(package: str, page: str) -> None:
    folder = SOURCE / Path(*package.split(".")[1:])
    module = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    (table,) = (
        node.value
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_MODULES"
    )
    public = [name for names in ast.literal_eval(table).values() for name in names]
    entry = rf"^::: {re.escape(package)}\.(\w+)$"
    shown = re.findall(entry, (DOCS / page).read_text(), re.MULTILINE)
    assert sorted(shown) == sorted(public)


def test_troubleshooting_leads_to_every_finding_of_explain() -> None:
    sources = (SOURCE / "reporting" / "anomalies").glob("*.py")
    findings = {
        name
        for path in sources
        for name in re.findall(r'finding\(\s*"([a-z-]+)"', path.read_text(encoding="utf-8"))
    }
    named = re.findall(r"`\[([a-z-]+)\]`", (DOCS / "troubleshooting.md").read_text())
    assert set(named) == findings
    assert len(findings) >= 17


def code(page: str) -> list[str]:
    """The blocks of Python, without what their comments say."""
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    return [re.sub(r"  #.*", "", block) for block in blocks]


def test_the_chinese_readme_has_figures_commands_and_code_of_the_english_one() -> None:
    english = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Where things are")[0]
    chinese = (ROOT / "README.zh.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    ((?:klamp|make) .*?)(?:\s+#.*)?$", english, re.MULTILINE)
    figures = re.findall(r"\d[\d,.]*\d", english)
    missing = [each for each in [*commands, *figures] if each not in chinese]
    pictures = [re.findall(r"!\[.+?\]\((\S+)\)", page) for page in (english, chinese)]
    assert pictures[0] == pictures[1]
    assert "docs/cheetah.webp" in pictures[0]
    assert code(chinese) == code(english)
    assert len(commands) > 15
    assert len(figures) > 60
    assert missing == []


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    entries = set(re.findall(r": ([\w/.-]+\.md)$", navigation, re.MULTILINE))
    beside = {"security.md", "contributing.md", "index.zh.md"}
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert entries == pages | beside


def test_relative_links_of_the_pages_lead_to_files() -> None:
    missing: list[str] = []
    for page in [*DOCS.rglob("*.md"), *ROOT.glob("*.md")]:
        for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if ":" not in target and not (page.parent / target).exists():
                missing.append(f"{page.name}: {target}")
    assert missing == []


@pytest.mark.parametrize(("page", "between"), [("README.md", ", "), ("README.zh.md", "，")])
def test_the_returns_of_a_readme_are_those_that_were_measured(page: str, between: str) -> None:
    measured: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
    learned = (ROOT / "benchmarks" / "results" / "learning.md").read_text(encoding="utf-8")
    for env, algo, steps, seeds, mean in re.findall(
        r"^\| (\S+) \| (ppo|trpo) \| ([\d,]+) \| (\d+) \|[^|]*\| (\S+) \|", learned, re.MULTILINE
    ):
        measured.setdefault((env, steps), {})[algo] = (seeds, mean)
    told = re.findall(
        rf"^\| (\S+?){between}([\d,]+) \| (\d+) \| (\S+) \| (\S+) \|$",
        (ROOT / page).read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(told) > 10
    for env, steps, seeds, ppo, trpo in told:
        assert measured[env, steps] == {"ppo": (seeds, ppo), "trpo": (seeds, trpo)}
