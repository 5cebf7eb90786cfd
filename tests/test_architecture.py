"""The shape of the package: layers, no circles, a test file a module, short functions."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "klamp"
MODULES = sorted(path for path in SOURCE.rglob("*.py"))

# From the bottom up: a folder imports from levels below its own, and from itself.
LEVELS = [
    ["errors", "types"],
    ["runtime", "config"],
    ["mathematics", "envs", "runs"],
    ["trust_region", "networks", "reporting"],
    ["algorithms", "collection", "evaluation"],
    ["training"],
    ["lm"],
    ["cli"],
    ["distributions", "__main__", "__init__"],
]
LANGUAGE_LEVELS = [
    ["tokens", "config"],
    ["networks"],
    ["environments"],
    ["learning"],
    ["tasks"],
    ["collection"],
    ["evaluation"],
    ["training"],
]
LEVEL = {folder: level for level, folders in enumerate(LEVELS) for folder in folders}
ORDER_WITHIN = {
    "trust_region": [
        "report",
        "fisher",
        "conjugate_gradient",
        "rounding",
        "line_search",
        "surrogate",
        "natural_gradient",
        "projection",
        "step",
    ],
}


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


@cache
def text_of(path: Path) -> str:
    return path.read_text()


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Everything in a file, read once for all tests."""
    return tuple(ast.walk(ast.parse(text_of(path))))


@cache
def imports_of(path: Path) -> frozenset[str]:
    """The klamp modules that a file imports, wherever in the file (type-checking blocks apart)."""
    found: set[str] = set()
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("klamp"):
            inside = node.module.removeprefix("klamp").lstrip(".")
            found |= {inside} if inside else {alias.name for alias in node.names}
    return frozenset(found)


def test_imports_point_down() -> None:
    wrong = [
        f"{dotted(path)} imports {imported} from above or beside its folder"
        for path in MODULES
        if (folder := dotted(path).split(".")[0]) != "__init__"
        for imported in imports_of(path)
        if (below := imported.split(".")[0]) != folder and LEVEL[below] >= LEVEL[folder]
    ]
    assert not wrong


def test_imports_of_language_models_point_down() -> None:
    level = {folder: number for number, folders in enumerate(LANGUAGE_LEVELS) for folder in folders}
    wrong = [
        f"{dotted(path)} imports {imported} from above or beside its folder"
        for path in MODULES
        if (parts := dotted(path).split("."))[0] == "lm" and parts[1] != "__init__"
        for imported in imports_of(path)
        if imported.startswith("lm.")
        if (below := imported.split(".")[1]) != parts[1] and level[below] >= level[parts[1]]
    ]
    assert not wrong


def test_the_top_holds_folders_and_few_files() -> None:
    entries = [path for path in SOURCE.iterdir() if path.name != "__pycache__"]
    assert len([path for path in entries if (path / "__init__.py").exists()]) <= 14
    assert len([path for path in entries if path.suffix == ".py"]) <= 5


def test_the_heart_is_read_in_order() -> None:
    for folder, order in ORDER_WITHIN.items():
        for position, name in enumerate(order):
            for imported in imports_of(SOURCE / folder / f"{name}.py"):
                if imported.startswith(f"{folder}."):
                    assert order.index(imported.split(".")[1]) < position


def test_no_module_imports_itself_by_a_detour() -> None:
    known = {dotted(path): imports_of(path) for path in MODULES if path.name != "__init__.py"}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join((*trail, name))
        if name in done or name not in known:
            return
        for imported in known[name]:
            visit(imported, (*trail, name))
        done.add(name)

    for name in known:
        visit(name, ())


def test_each_module_has_its_test_file() -> None:
    modules = [path for path in MODULES if not path.name.startswith("__")]
    wanted = [path.relative_to(SOURCE).with_name(f"test_{path.stem}.py") for path in modules]
    assert not [path for path in wanted if not (ROOT / "tests" / path).exists()]


def test_functions_and_files_stay_short() -> None:
    lengths = {dotted(path): len(text_of(path).splitlines()) for path in MODULES}
    assert not {name: length for name, length in lengths.items() if length > 330}
    for path in MODULES:
        for node in nodes_of(path):
            if isinstance(node, ast.FunctionDef):
                first = node.body[0]
                # A docstring may be as long as its equation needs.
                described = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
                length = node.end_lineno - (first.end_lineno if described else node.lineno)
                assert length <= 60, f"{dotted(path)}.{node.name} has {length} lines"


def test_no_line_of_the_tests_is_without_effect() -> None:
    """A text behind ``assert_equal(a, b),`` is never read; a second mark replaces the first."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            idle = isinstance(node, ast.Expr) and isinstance(node.value, ast.Tuple | ast.Compare)
            assert not idle, f"line {node.lineno} of {path} computes something for nothing"
        named = [
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        ]
        assert len(named) == len(set(named)), f"{path} assigns a name twice"


def test_mathematics_knows_no_environment() -> None:
    for folder in ("mathematics", "trust_region"):
        for path in MODULES:
            if dotted(path).split(".")[0] == folder:
                assert "gymnasium" not in text_of(path)


def test_only_envs_makes_environments() -> None:
    for path in MODULES:
        if "envs" not in path.parts:
            assert "gymnasium.make" not in text_of(path), dotted(path)
            assert "make_vec" not in text_of(path), dotted(path)


def test_one_place_asks_where_is_computed() -> None:
    """JAX's default backend is not the device that was chosen."""
    asking = [dotted(path) for path in MODULES if "default_backend" in text_of(path)]
    assert asking == ["runtime.device"]


def test_nothing_draws_from_a_global_generator() -> None:
    for path in MODULES:
        for node in nodes_of(path):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                drawn = f"{ast.unparse(node.value)}.{node.attr}"
                assert not drawn.startswith("np.random.") or node.attr in (
                    "SeedSequence",
                    "Generator",
                    "Philox",
                ), f"{dotted(path)} uses {drawn}"
            if isinstance(node, ast.Import):
                assert "random" not in {alias.name for alias in node.names}


@pytest.mark.parametrize("name", ["lm", "distributions"])
def test_a_part_with_names_of_its_own_needs_no_import(name: str) -> None:
    words = (
        f"import klamp; assert klamp.{name}.__name__ == 'klamp.{name}'; dir(klamp).index('{name}')"
    )
    subprocess.run([sys.executable, "-c", words], check=True)


def test_public_names_are_all_there() -> None:
    import klamp

    for name in klamp.__all__:
        assert getattr(klamp, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        klamp.no_such_name  # noqa: B018
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    typed = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("klamp")
        for alias in node.names
    }
    assert typed == set(klamp.__all__)


# Where `Any` stands in a signature of the façade, by the name of what it is the type of.
WHY_ANY = {
    "a pytree of arrays, of any structure: JAX has no type for it": """
        theta value trust_region_step""",
    "of the kind that its space says: an array, or a tree of arrays": """
        observation next_observation action rows act act_on_rows""",
    "numpy's or JAX's, of any shape, or None; what reads it has the shape in its signature": """
        action_mask dropout_key log_std episode_start value_target old_value ended
        reward terminated truncated""",
    "a distribution, or `Shared` with a function that gives one": "old old_policy",
    "whatever a user gives: what it is, is found out, and refused in words": """
        env_kwargs settings own_algorithm info""",
    "values of JSON, or of settings, of which each key has its own type": """
        data to_dict metrics details implied_settings values""",
    "a `Result`, whose module stands above that of the errors": "result",
}


def signatures(module: str, name: str) -> Iterator[tuple[str, ast.expr | None]]:
    """What a public function, or the public methods and fields of a class, say of their types."""
    path = SOURCE.joinpath(*module.split(".")[1:])
    tree = ast.parse(
        (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    )
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and name in {each.asname for each in node.names}:
            yield from signatures(node.module or "", name)
        if getattr(node, "name", None) != name:
            continue
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        for part in inside:
            if isinstance(part, ast.AnnAssign):
                yield ast.unparse(part.target), part.annotation
            elif isinstance(part, ast.FunctionDef):
                public = not part.name.startswith("_") or part.name in ("__init__", "__call__")
                given = [each for each in ast.walk(part.args) if isinstance(each, ast.arg)]
                if public:
                    yield part.name, part.returns
                    yield from ((each.arg, each.annotation) for each in given)


def test_each_any_of_the_facade_has_its_reason() -> None:
    """A type that could be said is said; the table says why the others cannot."""
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    reasons = [name for names in WHY_ANY.values() for name in names.split()]
    assert len(reasons) == len({*reasons})
    found = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("klamp")
        for each in node.names
        for name, kind in signatures(node.module or "", each.name)
        if kind is not None and "Any" in {getattr(part, "id", "") for part in ast.walk(kind)}
    }
    assert found == {*reasons}
