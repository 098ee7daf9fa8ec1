"""The root module: it passes every variable on to modules/chat, and every output back.

Its variables have the types and defaults of the module's and no validations: those of the module
are applied to the same values, and name the same variables.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import indent

from tools import deployment
from tools.deployment import FOLDER, Variable

_HEAD = "# Written by `make docs` from modules/chat.\n"


def files() -> Mapping[Path, str]:
    """Returns the generated files with their text, as `terraform fmt` formats it."""
    variables = deployment.variables().values()
    width = max(len(each.name) for each in variables)
    call = "".join(f"  {each.name:{width}} = var.{each.name}\n" for each in variables)
    return {
        FOLDER / "main.tf": f'{_HEAD}\nmodule "chat" {{\n  source = "./modules/chat"\n\n{call}}}\n',
        FOLDER / "variables.tf": "\n".join([_HEAD, *map(_variable, variables)]),
        FOLDER / "outputs.tf": "\n".join([_HEAD, *_outputs()]),
    }


def _variable(variable: Variable) -> str:
    # Attributes are aligned where no line of more than one is between them.
    several = "\n" in variable.kind
    nullable = "" if variable.nullable else f"  nullable{' ' * (0 if several else 3)} = false\n"
    default = f"  default{' ' * _spaces(several, variable)} = {json.dumps(variable.default)}\n"
    if several:
        lines = f"{_description(variable)}\n\n  type = {variable.kind}\n\n{default}{nullable}"
    else:
        lines = f"{_description(variable)}\n  type        = {variable.kind}\n{default}{nullable}"
    return f'variable "{variable.name}" {{\n{lines}}}\n'


def _spaces(several: bool, variable: Variable) -> int:
    if not several:
        return 4
    return 0 if variable.nullable else 1


def _description(variable: Variable) -> str:
    text = variable.description
    if "\n" not in text:
        return f"  description = {json.dumps(text, ensure_ascii=False)}"
    return f"  description = <<-EOT\n{indent(text, '    ')}\n  EOT"


def _outputs() -> Iterator[str]:
    for each in deployment.outputs().values():
        description = json.dumps(each.description, ensure_ascii=False)
        yield (
            f'output "{each.name}" {{\n  description = {description}\n'
            f"  value       = module.chat.{each.name}\n}}\n"
        )
