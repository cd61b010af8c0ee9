// The messages of mindspore.serving.proto.MSService/Predict, read and written in place.
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
#include "memory/payload.h"
#include "protocol/request_builder.h"
#include "schedule/request.h"

namespace servoir {

// Reads one PredictRequest that is whole and contiguous. Small messages.
[[nodiscard]] Result<std::shared_ptr<Request>> read_predict_request(std::span<const std::byte> message,
                                                                    Scheduler* scheduler, SlabPool* slabs);

// Reads one PredictRequest piece by piece as it comes from the socket; tensor bytes go straight to their place. Fields
// may come in any order that protobuf allows; in the usual one (spec first; shape and dtype before data) nothing but
// the fields' heads is ever held back. Same results and errors as read_predict_request for the same bytes.
class PredictStream {
 public:
  PredictStream(std::uint64_t message_bytes, Scheduler* scheduler, SlabPool* slabs);
  ~PredictStream();
  // The next bytes of the message, at most what is left of it.
  [[nodiscard]] Status feed(std::span<const std::byte> bytes);
  // After message_bytes bytes have been fed.
  [[nodiscard]] Result<std::shared_ptr<Request>> finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The reply's message: of a finished request, or of one that failed before it was a request. Application errors are in
// error_msg (an error of the request: one entry, no instances; of instances: one entry each; all alike: folded into
// one).
void write_predict_reply(const Request& request, Payload* out);
void write_predict_failure(std::string_view servable, std::uint64_t version, std::string_view method,
                           const Status& failure, Payload* out);

}  // namespace servoir
