import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from export_examples import make_example, write_bundle

from moist.export import export_bundle, graph_inputs, mixture_fragments
from moist.export.fragment import make_model
from moist.export.onnx_library import ModelProto
from moist.export.routed_graph import _balanced, routed_model


def parts_that_ran(model, inputs, folder):
    """Run a graph under ONNX Runtime's profiler; return its outputs and the parts whose nodes were executed."""
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    # Nodes keep their names only where none is merged with another.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"raw": inputs})
    events = json.loads(Path(session.end_profiling()).read_text())
    names = [event["name"] for event in events if event["cat"] == "Node" and "kernel_time" in event["name"]]
    return outputs, {name.split("/")[0] for name in names if "/" in name}


@pytest.mark.parametrize("case", ["table-mlp-trunk", "image-resnet-trunk", "text-bag"])
def test_only_the_chosen_specialist_runs(case, tmp_path):
    tiny = make_example(case)
    model = routed_model(mixture_fragments(tiny.mixture))
    inputs = graph_inputs(tiny.mixture.transform, tiny.raw)
    seen = set()
    for row in range(12):
        (_, domains), parts = parts_that_ran(model, inputs[row : row + 1], tmp_path)
        assert {part for part in parts if part.startswith("specialist")} == {f"specialist-{domains[0, 0]:03d}"}
        assert "gate" in parts
        seen.add(int(domains[0, 0]))
    assert len(seen) > 1, "the test is to reach several specialists"


def test_with_several_to_choose_only_those_run(tmp_path):
    tiny = make_example("table-mlp", top_k=2, defer=True)
    tiny.mixture.threshold = 0.0
    model = routed_model(mixture_fragments(tiny.mixture))
    (_, domains, deferred), parts = parts_that_ran(model, tiny.raw[:1], tmp_path)
    specialists = {part for part in parts if part.startswith("specialist")}
    assert specialists == {f"specialist-{k:03d}" for k in domains[0]}
    assert len(specialists) == 2
    assert not deferred.any()
    assert "generalist" not in parts


def test_the_generalist_runs_for_doubtful_inputs_only(tmp_path):
    tiny = make_example("table-mlp", defer=True)
    tiny.mixture.threshold = 2.0
    (_, _, deferred), parts = parts_that_ran(routed_model(mixture_fragments(tiny.mixture)), tiny.raw[:1], tmp_path)
    assert deferred.all()
    assert "generalist" in parts


def all_weights(graph):
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from all_weights(attribute.g)


def test_every_weight_is_in_the_routed_graph_once():
    tiny = make_example("table-mlp-trunk", top_k=2)
    weights = list(all_weights(routed_model(mixture_fragments(tiny.mixture)).graph))
    names = [weight.name for weight in weights]
    assert len(set(names)) == len(names)
    for module in (tiny.mixture.trunk, *tiny.mixture.specialists):
        for parameter in module.parameters():
            if parameter.dim() < 2:
                continue  # biases all begin as the same zeros
            data = parameter.detach().numpy().tobytes()
            assert sum(data == weight.raw_data for weight in weights) == 1


def test_what_serves_more_is_found_in_fewer_steps():
    # By hand: 5/8 against the rest; then 1/8 against 2/8.
    assert _balanced([0.625, 0.125, 0.125, 0.125], 0, 4) == 1
    assert _balanced([0.625, 0.125, 0.125, 0.125], 1, 4) == 2
    assert _balanced([0.25] * 4, 0, 4) == 2
    assert _balanced([0.0, 0.0, 0.0, 1.0], 0, 3) == 1


def test_one_input_only_goes_through_the_routed_graph(tmp_path):
    bundle = write_bundle(make_example("table-mlp"), tmp_path / "bundle")
    export_bundle(bundle)
    model = ModelProto.FromString((bundle / "onnx" / "routed.onnx").read_bytes())
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3]
    session = ort.InferenceSession(make_model(model.graph).SerializeToString(), providers=["CPUExecutionProvider"])
    with pytest.raises(Exception, match="Expected: 1"):
        session.run(None, {"raw": np.zeros((2, 3), dtype=np.float32)})
