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
#include <string_view>

#include "base/status.h"
#include "memory/payload.h"
#include "protocol/request_builder.h"
#include "schedule/request.h"

namespace servoir {

// The servable_spec of a request that failed before it was a Request: what a reply with the failure repeats. Empty as
// far as it was not read.
struct PredictSpec {
  std::string servable;
  std::uint64_t version = 0;
  std::string method;
};

// Reads one PredictRequest that is whole and contiguous. Small messages. Fills `spec`, if given, when it fails.
[[nodiscard]] Result<std::shared_ptr<Request>> read_predict_request(std::span<const std::byte> message,
                                                                    Scheduler* scheduler, SlabPool* slabs,
                                                                    PredictSpec* spec = nullptr);

// Reads one PredictRequest piece by piece as it comes from the socket; tensor bytes go straight to their place. Fields
// may come in any order that protobuf allows; in the usual one (spec first; shape and dtype before data) nothing but
// the fields' heads and small instances cut in two is ever held back. Accepts what read_predict_request accepts, with
// the same result; of several errors in one message another one may be reported, as soon as it is met.
class PredictStream {
 public:
  PredictStream(std::uint64_t message_bytes, Scheduler* scheduler, SlabPool* slabs);
  ~PredictStream();
  PredictStream(const PredictStream&) = delete;
  PredictStream& operator=(const PredictStream&) = delete;
  // The next bytes of the message, at most what is left of it. After an error nothing but spec() may be called.
  [[nodiscard]] Status feed(std::span<const std::byte> bytes);
  // Where the next bytes will be copied to; empty if that is not known. They may be put there beforehand, and are then
  // fed from there: nothing is copied. The memory behind what was fed is of no value until then.
  [[nodiscard]] std::span<std::byte> place() const;
  // After message_bytes bytes have been fed. Only once.
  [[nodiscard]] Result<std::shared_ptr<Request>> finish();
  // As far as it was read.
  [[nodiscard]] PredictSpec spec() const;

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
