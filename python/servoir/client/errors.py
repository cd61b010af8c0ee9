"""What infer() raises, where it was asked to raise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

# A dict for each instance, or {"error": text} for the whole request.
Answer: TypeAlias = list[dict[str, Any]] | dict[str, str]


class InferError(RuntimeError):
    """A request failed, or some of its instances did.

    Attributes:
        code: what kind of failure it is, by the name that gRPC has for it: "INVALID_ARGUMENT" (the request is wrong),
            "NOT_FOUND" (there is no such servable, version or method), "RESOURCE_EXHAUSTED", "UNAVAILABLE" (no server
            or no worker is there), "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL" (a stage or a model failed), ….
        message: what went wrong, without the code.
        instances: the errors of the instances that failed, by their index, where others did not. `code` and `message`
            are then those of the first of them. Empty where the whole request failed.
        answer: what infer() returns where it does not raise: the outputs of the other instances are in it.
    """

    code: str
    message: str
    instances: Mapping[int, InferError]
    answer: Answer

    def __init__(self, code: str, message: str, instances: Mapping[int, InferError], answer: Answer, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.message = message
        self.instances = instances
        self.answer = answer

    @classmethod
    def of_request(cls, code: str, message: str, answer_text: str | None = None) -> InferError:
        """`answer_text`: in the answer where infer() does not raise, if that is not `message`."""
        answer = {"error": message if answer_text is None else answer_text}
        return cls(code, message, {}, answer, f"{code}: {message}")

    @classmethod
    def of_instances(cls, instances: Mapping[int, InferError], answer: list[dict[str, Any]]) -> InferError:
        """`instances` has at least one."""
        index = min(instances)
        first = instances[index]
        text = f"{len(instances)} of {len(answer)} instances failed; instance {index}: {first.code}: {first.message}"
        return cls(first.code, first.message, instances, answer, text)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.message, self.instances, self.answer, str(self))
