"""The documents speak of things that exist."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import dlbi

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page for pattern in ("*.md", "[a-z]*/*.md") for page in (ROOT / "docs").glob(pattern)
)
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *PAGES]
PAPER_MAP = (ROOT / "docs" / "paper-map.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def quoted(text):
    """Everything between single back-ticks."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


def code_block(marker):
    """The fenced block after a marker of the README."""
    return re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)\n```", README, re.DOTALL)[1]


@pytest.mark.parametrize(
    "test", sorted({q for q in quoted(PAPER_MAP) if re.search(r"test_\w+\.py", q)})
)
def test_tests_of_the_paper_map_exist(test):
    path, _, function = test.partition("::")
    source = (ROOT / "tests" / path).read_text(encoding="utf-8")
    assert not function or f"\ndef {function}(" in source


def named_objects():
    """Dotted names below `dlbi` in the paper map, without arguments."""
    names = {quote.partition("(")[0] for quote in quoted(PAPER_MAP) if ".py" not in quote}
    dotted = {name for name in names if re.fullmatch(r"\w+(\.\w+)+", name)}
    return sorted(name for name in dotted if find_spec(f"dlbi.{name.partition('.')[0]}"))


@pytest.mark.parametrize("name", named_objects())
def test_code_of_the_paper_map_exists(name):
    parts, value = name.split("."), dlbi
    for n, part in enumerate(parts, start=1):
        module = ".".join(["dlbi", *parts[:n]])
        value = import_module(module) if is_module(module) else member(value, part)


def is_module(name):
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def member(value, name):
    """An attribute, or a field of a dataclass."""
    if name in getattr(value, "__dataclass_fields__", {}):
        return None
    return getattr(value, name)


def test_the_paper_map_names_code_and_tests():
    assert len(named_objects()) > 30
    lines = [line for line in PAPER_MAP.splitlines() if line.startswith("| ")]
    rows = [re.split(r"(?<!\\)\|", line)[1:4] for line in lines]
    for item in (*(f"Eq. {n}" for n in range(1, 12)), "Fig. 2", "Fig. 3", "Fig. 5", "Fig. 6"):
        told = [row for row in rows if re.search(rf"{item}(?!\d)", row[0])]
        assert told, item
        for _, code, test in told:
            assert quoted(code), item
            assert ".py" in test, item
    for section in ("2.1.1", "2.1.2", "2.1.3", "2.2.2", "3.1", "3.3.1", "3.3.2", "3.4.1"):
        assert section in PAPER_MAP


def names_of_the_documents():
    """Dotted names that begin with `dlbi.` in any document, without arguments."""
    texts = (document.read_text(encoding="utf-8") for document in DOCUMENTS)
    names = (quote.partition("(")[0] for text in texts for quote in quoted(text))
    files = (".tif", ".toml", ".csv", ".json")
    return sorted({n for n in names if re.fullmatch(r"dlbi(\.\w+)+", n) and not n.endswith(files)})


@pytest.mark.parametrize("name", names_of_the_documents())
def test_names_of_the_documents_exist(name):
    value = dlbi
    for n, part in enumerate(name.split(".")[1:], start=2):
        module = ".".join(name.split(".")[:n])
        value = getattr(value, part) if hasattr(value, part) else import_module(module)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_relative_links_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_commands_of_the_readme():
    assert "dlbi demo" in code_block("main-command")
    checks = code_block("test-command")
    for tool in ("ruff check", "ruff format --check", "mypy", "lint-imports", "pytest"):
        assert tool in checks


def test_scripts_of_the_readme_use_public_names():
    scripts = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        assert len(script.strip().splitlines()) <= 6
        for node in ast.walk(ast.parse(script)):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "dlbi":
                assert node.attr in dlbi.__all__


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_scripts_of_the_pages_use_public_names(page):
    for script in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for node in ast.walk(ast.parse(script)):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "dlbi":
                assert node.attr in dlbi.__all__


def commands():
    """Name and arguments of each command that a document tells to type."""
    texts = "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    return sorted(set(re.findall(r"^dlbi (\w+) (.*)$", texts, re.MULTILINE)))


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_commands_of_the_documents_exist(command, capsys):
    name, arguments = command
    assert dlbi_main([name, "--help"]) == 0
    known = capsys.readouterr().out
    for option in re.findall(r"--[\w-]+", arguments):
        assert f" {option} " in known
    for config in re.findall(r"configs/\S+\.toml", arguments):
        assert (ROOT / config).exists()


def dlbi_main(arguments):
    return import_module("dlbi.cli").main(arguments)
