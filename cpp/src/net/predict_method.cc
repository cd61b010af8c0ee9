// mindspore.serving.proto.MSService/Predict. Errors of the application are in the reply's error_msg, with gRPC status
// 0.

#include <optional>
#include <utility>

#include "net/grpc_call.h"
#include "net/grpc_method.h"
#include "protocol/predict.h"

namespace servoir {
namespace {

void reply_failure(GrpcCall& call, const Status& failure) {
  Payload reply;
  write_predict_failure("", 0, "", failure, &reply);
  call.reply(std::move(reply));
}

void take(GrpcCall& call, Result<std::shared_ptr<Request>> request) {
  if (request.ok()) {
    call.submit(std::move(request).value());
  } else {
    reply_failure(call, request.status());
  }
}

class PredictSink final : public MessageSink {
 public:
  PredictSink(std::uint64_t bytes, Scheduler* scheduler, SlabPool* slabs) : stream_(bytes, scheduler, slabs) {}
  Status feed(std::span<const std::byte> bytes) override { return stream_.feed(bytes); }
  void finish(GrpcCall& call) override { take(call, stream_.finish()); }
  void fail(GrpcCall& call, const Status& why) override { reply_failure(call, why); }

 private:
  PredictStream stream_;
};

class PredictMethod final : public GrpcMethod {
 public:
  PredictMethod(Scheduler* scheduler, SlabPool* slabs) : scheduler_(scheduler), slabs_(slabs) {}

  void on_message(GrpcCall& call, std::span<const std::byte> message) const override {
    take(call, read_predict_request(message, scheduler_, slabs_));
  }
  std::unique_ptr<MessageSink> open_sink(std::uint64_t bytes) const override {
    return std::make_unique<PredictSink>(bytes, scheduler_, slabs_);
  }
  void on_answer(GrpcCall& call, const Request& request) const override {
    Payload reply;
    write_predict_reply(request, &reply);
    call.reply(std::move(reply));
  }

 private:
  Scheduler* scheduler_;
  SlabPool* slabs_;
};

}  // namespace

std::unique_ptr<GrpcMethod> make_predict_method(Scheduler* scheduler, SlabPool* slabs) {
  return std::make_unique<PredictMethod>(scheduler, slabs);
}

}  // namespace servoir
