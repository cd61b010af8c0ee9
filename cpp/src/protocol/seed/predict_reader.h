// mindspore.serving.proto.MSService/Predict: its messages, and the reader of a request that is whole and contiguous.
//
//   PredictRequest  servable_spec = 1 ServableSpec, instances = 2 repeated Instance
//   PredictReply    servable_spec = 1, instances = 3 repeated Instance, error_msg = 4 repeated ErrorMsg
//   ServableSpec    name = 1 string, method_name = 2 string, version_number = 3 uint64
//   Instance        items = 1 map<string, Tensor>
//   Tensor          shape = 1 TensorShape, dtype = 2 enum, data = 3 bytes, bytes_val = 4 repeated bytes
//   TensorShape     dims = 1 repeated int64 (packed or not)
//   ErrorMsg        error_code = 1 int64, error_msg = 2 bytes
//
// Belongs to one I/O thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"
#include "protocol/request_builder.h"
#include "request/request.h"

namespace servoir::seed {

// The servable_spec of a message that failed before it was a Request, as far as it was read. A reply with the failure
// repeats it.
struct PredictSpec {
  std::string servable;
  std::uint64_t version = 0;
  std::string method;
};

// For small messages. Fills `spec`, if given, when it fails. `connection`: see RequestBuilder.
[[nodiscard]] Result<std::shared_ptr<Request>> read_predict_request(std::span<const std::byte> message,
                                                                    Scheduler* scheduler, SlabPool* slabs,
                                                                    PredictSpec* spec = nullptr,
                                                                    MemoryBudget* connection = nullptr);

}  // namespace servoir::seed
