"""Small models by configuration, each a list of stages that can be cut into a shared trunk and a specialist's tail."""

from moist.students.settings import StudentSettings
from moist.students.sizing import width_for
from moist.students.student import Student, build_stages, create_student

__all__ = ["Student", "StudentSettings", "build_stages", "create_student", "width_for"]
