"""A check for students that K stacked copies must run as one, forward and backward."""

import torch
from torch.func import functional_call, stack_module_state

from moist.students import create_student


def assert_stacked_copies_agree(settings, shape, inputs, copies=3):
    """Compare torch.vmap over stacked parameters with a plain loop, in logits and in gradients."""
    students = [create_student(settings, shape, 5).eval() for _ in range(copies)]
    params, buffers = stack_module_state(students)

    def run(params, buffers):
        return functional_call(students[0], (params, buffers), (inputs,))

    stacked = torch.vmap(run)(params, buffers)
    plain = torch.stack([student(inputs) for student in students])
    torch.testing.assert_close(stacked, plain, rtol=1e-4, atol=1e-5)

    stacked.logsumexp(-1).sum().backward()
    plain.logsumexp(-1).sum().backward()
    for name, value in params.items():
        own = torch.stack([student.get_parameter(name).grad for student in students])
        torch.testing.assert_close(value.grad, own, rtol=1e-4, atol=1e-5, msg=name)
