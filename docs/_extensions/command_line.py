"""The directive `commands`: every command of the program, taken from the program itself."""

from __future__ import annotations

from typing import Any, ClassVar

import typer
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from dlbi.cli.app import app as program


class Commands(SphinxDirective):
    """A section for each command with its usage, description, arguments and options."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """Build the sections."""
        group: Any = typer.main.get_command(program)
        context = group.context_class(group, info_name="dlbi", **group.context_settings)
        return [self._section(name, command, context) for name, command in group.commands.items()]

    def _section(self, name: str, command: Any, parent: Any) -> nodes.section:
        context = command.context_class(command, info_name=name, parent=parent)
        title = f"dlbi {name}"
        section = nodes.section(ids=[nodes.make_id(title)], names=[title])
        self.state.document.note_implicit_target(section, section)
        section += nodes.title(text=title)
        usage = command.get_usage(context).removeprefix("Usage: ")
        section += nodes.literal_block(usage, usage, language="text")
        section += [nodes.paragraph(text=part) for part in command.help.split("\n\n")]
        records = (p.get_help_record(context) for p in command.get_params(context))
        section += nodes.definition_list("", *map(_item, filter(None, records)))
        return section


def _item(record: tuple[str, str]) -> nodes.definition_list_item:
    """One argument or option with the text of its help."""
    name, text = record
    return nodes.definition_list_item(
        "",
        nodes.term("", "", nodes.literal(text=name)),
        nodes.definition("", nodes.paragraph(text=" ".join(text.split()))),
    )


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
