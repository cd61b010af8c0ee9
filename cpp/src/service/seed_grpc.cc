// mindspore.serving.proto.MSService/Predict. Errors of the application are in the reply's error_msg, with gRPC status
// 0; only a deadline that has passed is the call's status.

#include <memory>
#include <utility>

#include "grpc/call.h"
#include "protocol/seed/predict_reader.h"
#include "protocol/seed/predict_stream.h"
#include "protocol/seed/predict_writer.h"
#include "service/request_info.h"
#include "service/scheduled.h"
#include "service/service.h"

namespace servoir::service {
namespace {

void reply_failure(grpc::Call& call, const seed::PredictSpec& spec, const Status& failure) {
  repeat_request_id(call);
  Payload reply;
  seed::write_predict_failure(spec.servable, spec.version, spec.method, failure, &reply);
  call.reply(std::move(reply));
}

// The request waits as the call's state for the end of the client's side.
void keep(grpc::Call& call, const seed::PredictSpec& spec, Result<std::shared_ptr<Request>> request) {
  if (request.ok()) {
    call.state = std::move(request).value();
  } else {
    reply_failure(call, spec, request.status());
  }
}

class PredictSink final : public grpc::MessageSink {
 public:
  PredictSink(std::uint64_t bytes, const Frontend& frontend, MemoryBudget* connection)
      : stream_(bytes, frontend.scheduler, frontend.slabs, connection) {}
  Status feed(std::span<const std::byte> bytes) override { return stream_.feed(bytes); }
  std::span<std::byte> next_destination() const override { return stream_.next_destination(); }
  void finish(grpc::Call& call) override {
    Result<std::shared_ptr<Request>> request = stream_.finish();
    keep(call, request.ok() ? seed::PredictSpec() : stream_.spec(), std::move(request));
  }
  void fail(grpc::Call& call, const Status& why) override { reply_failure(call, stream_.spec(), why); }

 private:
  seed::PredictStream stream_;
};

class PredictHandler final : public grpc::Handler, private Scheduled<grpc::Call> {
 public:
  explicit PredictHandler(const Frontend* frontend) : Scheduled(frontend) {}

  void on_message(grpc::Call& call, std::span<const std::byte> message) const override {
    seed::PredictSpec spec;
    auto request =
        seed::read_predict_request(message, frontend().scheduler, frontend().slabs, &spec, call.request_budget());
    keep(call, spec, std::move(request));
  }
  std::unique_ptr<grpc::MessageSink> open_sink(grpc::Call& call, std::uint64_t bytes) const override {
    return std::make_unique<PredictSink>(bytes, frontend(), call.request_budget());
  }
  void on_half_close(grpc::Call& call) const override {
    auto request = std::static_pointer_cast<Request>(std::move(call.state));
    read_request_info(call, &request->info);
    repeat_request_id(call);
    request->info.deadline = call.deadline();
    submit(call, std::move(request));
  }
  void on_cancel(grpc::Call& call, const Status& why) const override { cancel(call, why); }

 private:
  void refuse(grpc::Call& call, const Status& why) const override { call.finish(why); }
  void write_answer(grpc::Call& call, const std::shared_ptr<Request>& request, bool /*last*/) const override {
    if (request->failure.code() == Code::kDeadlineExceeded) {
      call.finish(request->failure);
      return;
    }
    Payload reply;
    seed::write_predict_reply(*request, &reply);
    call.reply(std::move(reply));
  }
};

}  // namespace

void add_seed_grpc(const Frontend& frontend, grpc::Routes* routes) {
  routes->add("/mindspore.serving.proto.MSService/Predict", std::make_unique<PredictHandler>(&frontend));
}

}  // namespace servoir::service
