"""A project's folder read into typed, frozen definitions, and what a change of it will do.

`load` reads `headwater.yml` and `models/*.sql`; `check` holds the models against the streams' types; `plan` compares
the project with what ran last.
"""

from headwater.project.definition import Model, Project, SourceDefinition
from headwater.project.folder import load

__all__ = ["Model", "Project", "SourceDefinition", "load"]
