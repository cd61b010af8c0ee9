// mindspore.serving.proto.MSService/Predict. Errors of the application are in the reply's error_msg, with gRPC status
// 0.

#include <optional>
#include <utility>

#include "net/grpc_call.h"
#include "net/grpc_method.h"
#include "protocol/predict.h"

namespace servoir {
namespace {

void reply_failure(GrpcCall& call, const PredictSpec& spec, const Status& failure) {
  Payload reply;
  write_predict_failure(spec.servable, spec.version, spec.method, failure, &reply);
  call.reply(std::move(reply));
}

class PredictSink final : public MessageSink {
 public:
  PredictSink(std::uint64_t bytes, Scheduler* scheduler, SlabPool* slabs) : stream_(bytes, scheduler, slabs) {}
  Status feed(std::span<const std::byte> bytes) override { return stream_.feed(bytes); }
  std::span<std::byte> place() const override { return stream_.place(); }
  void finish(GrpcCall& call) override {
    Result<std::shared_ptr<Request>> request = stream_.finish();
    if (request.ok()) {
      call.submit(std::move(request).value());
    } else {
      fail(call, request.status());
    }
  }
  void fail(GrpcCall& call, const Status& why) override { reply_failure(call, stream_.spec(), why); }

 private:
  PredictStream stream_;
};

class PredictMethod final : public GrpcMethod {
 public:
  PredictMethod(Scheduler* scheduler, SlabPool* slabs) : scheduler_(scheduler), slabs_(slabs) {}

  void on_message(GrpcCall& call, std::span<const std::byte> message) const override {
    PredictSpec spec;
    Result<std::shared_ptr<Request>> request = read_predict_request(message, scheduler_, slabs_, &spec);
    if (request.ok()) {
      call.submit(std::move(request).value());
    } else {
      reply_failure(call, spec, request.status());
    }
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
