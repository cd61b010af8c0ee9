// PredictStream: the reader of a PredictRequest that comes in pieces.
//
// Belongs to one I/O thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/status.h"
#include "memory/slab.h"
#include "protocol/seed/predict_reader.h"
#include "request/request.h"
#include "schedule/scheduler.h"

namespace servoir::seed {

// Reads one PredictRequest piece by piece as it comes from the socket; tensor bytes go straight to their place. Fields
// may come in any order that protobuf allows. In the usual order (spec first; shape and dtype before data) only the
// heads of fields, and small instances that are cut in two, are held back. Accepts what read_predict_request accepts,
// with the same result. If a message has several errors, the two readers may report different ones: this reader reports
// the first that it meets.
class PredictStream {
 public:
  // `connection`: see RequestBuilder.
  PredictStream(std::uint64_t message_bytes, Scheduler* scheduler, SlabPool* slabs, MemoryBudget* connection = nullptr);
  ~PredictStream();
  PredictStream(const PredictStream&) = delete;
  PredictStream& operator=(const PredictStream&) = delete;
  // The next bytes of the message, at most what is left of it. After an error nothing but spec() may be called.
  [[nodiscard]] Status feed(std::span<const std::byte> bytes);
  // Where the next bytes will be copied to; empty if that is not known. The bytes may be received there and then be fed
  // from there, so that nothing is copied. The memory after the bytes that were fed is undefined until they are fed.
  [[nodiscard]] std::span<std::byte> next_destination() const;
  // After message_bytes bytes have been fed. Only once.
  [[nodiscard]] Result<std::shared_ptr<Request>> finish();
  // The servable_spec, as far as it was read.
  [[nodiscard]] PredictSpec spec() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace servoir::seed
