// PredictRequest, whole and contiguous: one pass over the top level for the spec and the number of instances, one over
// the instances.

#include "protocol/seed/predict_reader.h"

#include "protocol/protobuf.h"
#include "protocol/seed/predict_tensor.h"

namespace servoir::seed {

using namespace predict_fields;  // NOLINT(google-build-using-namespace)

namespace {

// What the pass over the top level finds.
struct TopLevel {
  SpecFields spec;
  SpecFields chosen;  // the spec when the first instance comes: that one counts if there is one
  std::uint64_t message_bytes = 0;
  std::uint64_t instances = 0;
  std::span<const std::byte> first;        // body of the first instance
  std::span<const std::byte> after_first;  // the message after it

  [[nodiscard]] Status scan(std::span<const std::byte> message) {
    message_bytes = message.size();
    WireReader fields(message);
    while (fields.next()) {
      if (fields.is(kRequestInstances, WireType::kBytes)) {
        if (instances++ != 0) continue;
        chosen = spec;
        first = fields.body();
        after_first = fields.rest();
      } else if (fields.is(kRequestSpec, WireType::kBytes)) {
        SERVOIR_RETURN_IF_ERROR(spec.merge(fields.body()));
      }
    }
    if (fields.step() != WireStep::kOk) return wire_error(fields.step(), "the PredictRequest");
    if (!spec.seen) return spec_missing();
    if (chosen.seen && chosen != spec) return spec_changed();
    return {};
  }
};

Result<std::shared_ptr<Request>> read(const TopLevel& top, Scheduler* scheduler, SlabPool* slabs,
                                      MemoryBudget* connection) {
  RequestBuilder builder(scheduler, slabs, connection);
  SERVOIR_RETURN_IF_ERROR(builder.method(top.spec.name, top.spec.version, top.spec.method));
  if (top.instances == 0) return builder.finish();
  builder.expect_instances(top.instances, top.message_bytes);
  std::uint64_t left = top.instances;
  const auto read_next = [&](std::span<const std::byte> instance, std::span<const std::byte> rest) -> Status {
    SERVOIR_RETURN_IF_ERROR(builder.begin_instance());
    builder.expect_instances(--left, rest.size());
    return read_instance(instance, &builder);
  };
  SERVOIR_RETURN_IF_ERROR(read_next(top.first, top.after_first));
  WireReader fields(top.after_first);
  while (left > 0 && fields.next()) {
    if (!fields.is(kRequestInstances, WireType::kBytes)) continue;
    SERVOIR_RETURN_IF_ERROR(read_next(fields.body(), fields.rest()));
  }
  return builder.finish();
}

}  // namespace

Result<std::shared_ptr<Request>> read_predict_request(std::span<const std::byte> message, Scheduler* scheduler,
                                                      SlabPool* slabs, PredictSpec* spec, MemoryBudget* connection) {
  TopLevel top;
  Status scanned = top.scan(message);
  Result<std::shared_ptr<Request>> request =
      scanned.ok() ? read(top, scheduler, slabs, connection) : Result<std::shared_ptr<Request>>(std::move(scanned));
  if (!request.ok() && spec != nullptr) {
    *spec = PredictSpec{std::string(top.spec.name), top.spec.version, std::string(top.spec.method)};
  }
  return request;
}

}  // namespace servoir::seed
