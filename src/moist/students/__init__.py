"""Small models by configuration, each a list of stages that can be cut into a shared trunk and a specialist's tail."""

from moist.students.settings import StudentSettings
from moist.students.sizing import width_for
from moist.students.sparse import RoutedStage, SparseBasicBlock, SparseEncoderBlock, SparseHead
from moist.students.student import Student, build_stages, check_reads, create_student
from moist.students.transformer import EncoderBlock
from moist.students.upcycling import dense_origins, upcycle_student

__all__ = [
    "EncoderBlock",
    "RoutedStage",
    "SparseBasicBlock",
    "SparseEncoderBlock",
    "SparseHead",
    "Student",
    "StudentSettings",
    "build_stages",
    "check_reads",
    "create_student",
    "dense_origins",
    "upcycle_student",
    "width_for",
]
