"""The README's table of techniques says what the specs say."""

from pathlib import Path

from workers.contract.spec import Spec
from workers.techniques import registry

README = (Path(__file__).parents[2] / "README.md").read_text()


def row(spec: Spec) -> str:
    bases = ", ".join(base.upper() for base in spec.bases)
    paper = f"[{spec.paper.title}]({spec.paper.url})"
    return f"| `{spec.name}` | {spec.family} | {spec.inputs.driven_by} | {bases} | {paper} |"


def test_the_table_of_techniques_is_the_registry() -> None:
    table = README.partition("<!-- techniques -->\n")[2].partition("<!-- /techniques -->")[0]
    expected = [row(registry.spec(name)) for name in registry.names()]
    assert table.splitlines()[2:] == expected, "the table must be:\n" + "\n".join(expected)


def test_the_readme_names_the_two_commands() -> None:
    assert "make demo" in README
    assert "make test" in README
