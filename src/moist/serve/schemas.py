"""The shapes of what the server answers, and the examples of what it is asked: the source of its OpenAPI page."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from moist.serve.reading import IMAGE_TYPES, NPY_TYPES

__all__ = [
    "ErrorAnswer",
    "ModelAnswer",
    "PredictAnswer",
    "PredictQuery",
    "Reloaded",
    "State",
    "predict_request",
    "refusals",
]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Prediction(_Answer):
    """The answer to one input."""

    label: str = Field(description="the most probable class")
    probability: float = Field(ge=0, le=1, description="its probability")
    probabilities: dict[str, float] = Field(description="classes and their probabilities, the largest first")
    domain: int = Field(ge=0, description="the specialist that answered")
    deferred: bool = Field(description="whether the answer was left to the generalist or the teacher")
    macs: float = Field(ge=0, description="multiply-accumulates that the answer took")


class Vote(_Answer):
    """What one specialist would have said."""

    domain: int
    label: str
    probability: float


class PredictQuery(BaseModel):
    """What the address of a prediction may ask for."""

    top: int | None = Field(None, ge=1, description="the most probable classes to name; by default all")
    votes: bool = Field(False, description="also tell what each specialist says; of one input alone")


EXAMPLE_ANSWER: dict[str, Any] = {
    "predictions": [
        {
            "label": "cat",
            "probability": 0.9,
            "probabilities": {"cat": 0.9, "dog": 0.1},
            "domain": 2,
            "deferred": False,
            "macs": 3060000.0,
        }
    ],
    "version": "8b1795b53e66f16c",
}


class PredictAnswer(_Answer):
    """The answers to all inputs of a request, in their order."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE_ANSWER]})

    predictions: list[Prediction]
    version: str = Field(description="names the model that answered; it changes when another is loaded")
    votes: list[Vote] | None = Field(None, description="with votes=true: what each specialist says of the one input")


class ModelAnswer(_Answer):
    """The model that is served."""

    name: str
    version: str
    kind: str
    classes: list[str]
    num_domains: int
    input: dict[str, Any] = Field(description="what one input looks like")
    loaded_at: float = Field(description="seconds since 1970")


class State(_Answer):
    """How the server is."""

    status: str


class Reloaded(_Answer):
    """What came of an attempt to load the folder anew."""

    version: str
    reloaded: bool


class ErrorAnswer(_Answer):
    """Why a request was refused."""

    error: str


MEANINGS = {
    401: "the token is missing or wrong",
    408: "the body did not arrive in time",
    413: "too many bytes or inputs",
    415: "a Content-Type that this model does not read",
    422: "the body cannot be read as inputs of this model",
    503: "at the limit: try again after the seconds in Retry-After",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of error statuses."""
    entries: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        entries[status] = {"model": ErrorAnswer, "description": MEANINGS[status]}
        if status == 503:
            entries[status]["headers"] = {
                "Retry-After": {"description": "whole seconds", "schema": {"type": "integer", "minimum": 1}}
            }
    return entries


EXAMPLES = {
    "vision": {"summary": "images, base64 of PNG, JPEG or WebP", "value": {"inputs": ["iVBORw0KGgo..."]}},
    "text": {"summary": "texts", "value": {"inputs": ["where is my card?", "I lost my phone"]}},
    "tabular": {"summary": "rows of a table, by column", "value": {"inputs": [{"size": 3.5, "colour": "red"}]}},
}


def predict_request(kind: str) -> dict[str, Any]:
    """Return the OpenAPI entry of a prediction's query and body, with the example of this kind of model first."""
    ordered = dict(sorted(EXAMPLES.items(), key=lambda item: item[0] != kind))
    entry: dict[str, Any] = {"type": "object", "additionalProperties": False, "required": ["inputs"]}
    entry["properties"] = {"inputs": {"type": "array", "minItems": 1, "items": _json_input(kind)}}
    content: dict[str, Any] = {"application/json": {"schema": entry, "examples": ordered}}
    binary = {"type": "string", "format": "binary"}
    if kind == "vision":
        content |= {image: {"schema": binary} for image in IMAGE_TYPES}
    if kind == "text":
        content["text/plain"] = {"schema": {"type": "string"}, "example": "where is my card?"}
    content[NPY_TYPES[0]] = {"schema": binary}
    part = {"type": "array", "minItems": 1, "items": binary if kind == "vision" else {"type": "string"}}
    form = {"type": "object", "required": ["inputs"], "properties": {"inputs": part}}
    content["multipart/form-data"] = {"schema": form}
    asked = PredictQuery.model_json_schema()["properties"]
    query = [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": schema.pop("description")}
        for name, schema in asked.items()
    ]
    return {"parameters": query, "requestBody": {"required": True, "content": content}}


def _json_input(kind: str) -> dict[str, Any]:
    if kind == "text":
        return {"type": "string"}
    if kind == "tabular":
        return {"anyOf": [{"type": "object"}, {"type": "array"}]}
    return {"anyOf": [{"type": "string", "format": "byte"}, {"type": "array"}]}
