"""A bundle behind the interface of the routed runtime."""

import numpy as np
import torch

from moist.mixture import inspect_bundle, load_bundle
from moist.runtime import RoutedPrediction, RoutedSession


class TorchSession(RoutedSession):
    def __init__(self, path):
        self._mixture = load_bundle(path)
        self.manifest = inspect_bundle(path)
        self.classes = self._mixture.classes
        self.num_domains = self._mixture.num_domains
        self.input_schema = self._mixture.schema.to_dict()
        self.kind = self.input_schema["kind"]
        self.name = "tiny"

    def predict(self, raw):
        if not isinstance(raw, np.ndarray):
            raw = np.array([*raw, None], dtype=object)[:-1]
        found = self._mixture.predict_all(raw)
        macs = np.full(len(raw), self.manifest["costs"]["active"]["macs"])
        domain = found.routing.expert_indices[:, 0].numpy()
        return RoutedPrediction(found.probabilities.numpy(), domain, found.deferred.numpy(), macs)

    def votes(self, raw_one):
        raw = raw_one if isinstance(raw_one, np.ndarray) else np.array([*raw_one, None], dtype=object)[:-1]
        encoded = self._mixture.transform.to_tensor(torch.from_numpy(np.array(self._mixture.transform.encode(raw))))
        with torch.inference_mode():
            return self._mixture.forward_all(encoded)[1].softmax(dim=-1)[0].numpy()

    def encode(self, rows):
        names = [column.name for column in self._mixture.schema.columns]
        return self._mixture.schema.encode_frame({name: [row.get(name) for row in rows] for name in names})

    def close(self):
        pass
