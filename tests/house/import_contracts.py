"""Contract types of import-linter that pyproject.toml uses beside the built-in ones.

import-linter forbids packages by name; the client instead names the few that it may import. Its contract against cycles
compares sibling packages; this one compares modules, whatever folders they are in.
"""

import graphlib
import sys
from typing import cast

import grimp
from importlinter import Contract, ContractCheck, fields, output
from importlinter.domain.imports import Module


def _modules_of(graph: grimp.ImportGraph, package: str) -> set[str]:
    return {package, *graph.find_descendants(package)}


class AllowedExternals(Contract):
    """A package imports the standard library, itself and the listed packages, and nothing else.

    Attributes:
        package: The checked package, including everything below it.
        allowed: Packages outside the standard library that it may import, each with everything below it.
    """

    type_name = "allowed_externals"

    package = fields.ModuleField()
    allowed = fields.SetField(subfield=fields.ModuleField())

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002, the signature is import-linter's
        """Collects the imports of anything else."""
        package = cast("Module", self.package).name
        allowed = [package, *(module.name for module in cast("set[Module]", self.allowed))]
        foreign = [
            (importer, imported)
            for importer in sorted(_modules_of(graph, package))
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if imported.split(".")[0] not in sys.stdlib_module_names
            and not any(imported == name or imported.startswith(f"{name}.") for name in allowed)
        ]
        return ContractCheck(kept=not foreign, metadata={"foreign": foreign, "package": package})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Prints the imports one by one."""
        for importer, imported in check.metadata["foreign"]:
            output.print_error(f"- {importer} -> {imported}: {check.metadata['package']} may not import it")


class AcyclicModules(Contract):
    """No module of a package imports itself through others.

    Attributes:
        package: The checked package, including everything below it.
    """

    type_name = "acyclic_modules"

    package = fields.ModuleField()

    def check(self, graph: grimp.ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002, the signature is import-linter's
        """Looks for one cycle."""
        modules = _modules_of(graph, cast("Module", self.package).name)
        imports = {name: graph.find_modules_directly_imported_by(name) & modules for name in modules}
        cycle: list[str] = []
        try:
            graphlib.TopologicalSorter(imports).prepare()
        except graphlib.CycleError as error:
            cycle = error.args[1]
        return ContractCheck(kept=not cycle, metadata={"cycle": cycle})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Prints the cycle, from importer to imported."""
        output.print_error(f"- {' -> '.join(reversed(check.metadata['cycle']))}")
