"""A client of MSService that is not ours: grpcio and protobuf with generated stubs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np

DTYPES = {
    "bool": 1,
    "int8": 2,
    "uint8": 3,
    "int16": 4,
    "uint16": 5,
    "int32": 6,
    "uint32": 7,
    "int64": 8,
    "uint64": 9,
    "float16": 10,
    "float32": 11,
    "float64": 12,
}
STRING, BYTES = 13, 14
NAMES = {number: name for name, number in DTYPES.items()}
PATH = "/mindspore.serving.proto.MSService/Predict"

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
# Channels of one process share connections unless told otherwise.
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


def open_channel(address: str) -> grpc.Channel:
    return grpc.insecure_channel(address, options=UNLIMITED + OWN_CONNECTION)


class ForeignClient:
    """One connection; calls any method of any servable."""

    def __init__(self, stubs: tuple[Any, Any], address: str) -> None:
        self.messages, services = stubs
        self.channel = open_channel(address)
        self.stub = services.MSServiceStub(self.channel)

    def __enter__(self) -> ForeignClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def tensor(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.messages.Tensor(dtype=STRING, bytes_val=[value.encode()])
        if isinstance(value, bytes):
            return self.messages.Tensor(dtype=BYTES, bytes_val=[value])
        array = np.asarray(value)
        shape = self.messages.TensorShape(dims=array.shape)
        if array.dtype.kind in "SU":
            texts = [text.encode() if array.dtype.kind == "U" else text for text in array.ravel().tolist()]
            dtype = STRING if array.dtype.kind == "U" else BYTES
            return self.messages.Tensor(shape=shape, dtype=dtype, bytes_val=texts)
        return self.messages.Tensor(shape=shape, dtype=DTYPES[array.dtype.name], data=array.tobytes())

    def request(self, servable: str, method: str, instances: Sequence[dict[str, Any]], version: int = 0) -> Any:
        spec = self.messages.ServableSpec(name=servable, method_name=method, version_number=version)
        request = self.messages.PredictRequest(servable_spec=spec)
        for instance in instances:
            items = request.instances.add().items
            for name, value in instance.items():
                items[name].CopyFrom(self.tensor(value))
        return request

    def value(self, tensor: Any) -> Any:
        if tensor.dtype in (STRING, BYTES):
            assert not tensor.data
            texts = [text.decode() if tensor.dtype == STRING else text for text in tensor.bytes_val]
            dims = list(tensor.shape.dims)
            if not dims:
                (text,) = texts
                return text
            return np.array(texts, "U" if tensor.dtype == STRING else "S").reshape(dims)
        assert not tensor.bytes_val
        array = np.frombuffer(tensor.data, NAMES[tensor.dtype])
        return array.reshape(tuple(tensor.shape.dims))

    def reply(self, servable: str, method: str, instances: Sequence[dict[str, Any]], **kwargs: Any) -> Any:
        """The reply's message as it came."""
        kwargs.setdefault("timeout", 30)
        return self.stub.Predict(self.request(servable, method, instances), **kwargs)

    def call(self, servable: str, method: str, *instances: dict[str, Any], **kwargs: Any) -> list[dict[str, Any]]:
        """Outputs of each instance; {"error": text} where it has one; AssertionError for an error of the request."""
        reply = self.reply(servable, method, instances, **kwargs)
        return self.outputs(reply, len(instances))

    def outputs(self, reply: Any, count: int) -> list[dict[str, Any]]:
        if len(reply.instances) != count:
            raise AssertionError(f"{count} instances sent, {len(reply.instances)} came back: {errors_of(reply)}")
        assert len(reply.error_msg) in (0, count)
        answers = []
        for index, instance in enumerate(reply.instances):
            if reply.error_msg and reply.error_msg[index].error_code:
                assert not instance.items
                answers.append({"error": reply.error_msg[index].error_msg.decode()})
            else:
                answers.append({name: self.value(tensor) for name, tensor in instance.items.items()})
        return answers


def errors_of(reply: Any) -> list[str]:
    return [error.error_msg.decode() for error in reply.error_msg if error.error_code]


def whole_error(reply: Any) -> str:
    """The error of the whole request; AssertionError if the reply is anything else."""
    assert not reply.instances, f"{len(reply.instances)} instances together with an error of the request"
    (error,) = reply.error_msg
    assert error.error_code != 0
    return str(error.error_msg.decode())
