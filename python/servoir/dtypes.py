"""The element types of tensors, by the names that NumPy, models and REST use for them.

Their order is that of their numbers in the core (cpp/src/tensor/dtype.h) and in the messages of the Predict call
(proto/ms_service.proto), which count from 1; tests compare all three. The core also has bfloat16, which neither NumPy
nor the Predict call has.
"""

from __future__ import annotations

DTYPES = (
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64"),
)
TEXTS = ("str", "bytes")
