#include "schedule/callee_queue.h"

#include "servable_fixture.h"

namespace servoir {
namespace {

class CalleeQueueTest : public SchedulerTest {
 protected:
  // A model of a batched input and one without batch dimension.
  CalleeQueueTest() {
    auto spec = std::make_shared<ServableSpec>();
    spec->name = "s";
    CalleeSpec callee = model_callee("k", {kDynamic, 2}, 8);
    callee.inputs = 2;
    callee.input_ports.push_back({{"scale", DataType::kFloat32, true, {1}}, false});
    spec->callees = {callee};
    MethodSpec method;
    method.name = "m";
    method.inputs = {"x", "scale"};
    method.stages = {{0, {0, 1}, 2, 1, ""}};
    method.output_names = {"y"};
    method.outputs = {2};
    method.values = 3;
    spec->methods = {method};
    EXPECT_TRUE(check(*spec).ok());
    method_ = make_method(spec, spec->methods.data(), 1);
    queue_ = std::make_unique<CalleeQueue>(method_->servable->callees.data());
  }

  std::shared_ptr<Request> with(std::vector<float> xs, float scale) {
    auto made = make_request(method_, static_cast<std::uint32_t>(xs.size()));
    for (std::uint32_t i = 0; i < xs.size(); ++i) {
      made->at(0, i) = floats({3, 2}, xs[i]);
      made->at(1, i) = floats({1}, scale, 2);
    }
    return made;
  }
  void push(const std::shared_ptr<Request>& request) {
    std::vector<AlikeRun> runs;
    find_alike(queue_->spec(), *request, 0, 0, request->instances, &runs);
    for (const AlikeRun& run : runs) {
      queue_->push(request, run, Clock::now(), order_);
      order_ += run.count;
    }
  }
  std::vector<Span> take(std::uint64_t rows) {
    CalleeQueue::Level* level = queue_->first();
    std::vector<Span> late;
    return queue_->take(level, level->queue.front(), rows, order_, {}, &late);
  }
  static std::vector<float> xs_of(const std::vector<Span>& spans) {
    std::vector<float> values;
    for (const Span& span : spans) {
      for (std::uint32_t i = span.first; i < span.first + span.count; ++i) {
        values.push_back(first_float(span.request->at(0, i).data()));
      }
    }
    return values;
  }

  std::shared_ptr<const Method> method_;
  std::unique_ptr<CalleeQueue> queue_;
  std::uint64_t order_ = 1;
};

TEST_F(CalleeQueueTest, InputsWithoutBatchDimensionShareABatchOnlyWhenEqual) {
  const auto a = with({1, 2}, 5);
  const auto b = with({3}, 6);
  const auto c = with({4}, 5);
  push(a);
  push(b);
  push(c);
  EXPECT_EQ(queue_->waiting(), 4U);
  EXPECT_EQ(xs_of(take(8)), (std::vector<float>{1, 2, 4}));
  EXPECT_EQ(xs_of(take(8)), (std::vector<float>{3}));
  EXPECT_TRUE(queue_->empty());
}

TEST_F(CalleeQueueTest, ASpanIsCutAndPutBackInOrder) {
  const auto a = with({1, 2, 3}, 5);
  const auto b = with({4}, 5);
  push(a);
  push(b);
  const std::vector<Span> first = take(2);
  EXPECT_EQ(xs_of(first), (std::vector<float>{1, 2}));
  const std::vector<Span> second = take(1);
  EXPECT_EQ(xs_of(second), (std::vector<float>{3}));
  queue_->put_back(second);
  queue_->put_back(first);
  EXPECT_EQ(queue_->waiting(), 4U);
  EXPECT_EQ(xs_of(take(8)), (std::vector<float>{1, 2, 3, 4}));
}

TEST_F(CalleeQueueTest, FailedInstancesAndAnsweredRequestsAreLeftOut) {
  const auto a = with({1, 2, 3}, 5);
  const auto b = with({4}, 5);
  push(a);
  push(b);
  a->errors[1] = Status::Internal("failed elsewhere");
  b->progress.answered = true;
  EXPECT_EQ(xs_of(take(8)), (std::vector<float>{1, 3}));
  EXPECT_TRUE(queue_->empty());
  push(b);
  queue_->sweep();
  EXPECT_TRUE(queue_->empty());
  EXPECT_EQ(queue_->waiting(), 0U);
}

TEST_F(CalleeQueueTest, ManyShapesAreServedByAge) {
  std::vector<std::shared_ptr<Request>> all;
  for (int i = 0; i < 100; ++i) {
    auto made = with({static_cast<float>(i)}, 5);
    made->at(0, 0) = floats({i + 1, 2}, static_cast<float>(i));
    push(made);
    all.push_back(made);
  }
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(xs_of(take(8)), (std::vector<float>{static_cast<float>(i)}));
  }
  EXPECT_TRUE(queue_->empty());
}

TEST_F(CalleeQueueTest, DynamicDimensionsFitStaticOnesMust) {
  auto request = with({1}, 5);
  EXPECT_TRUE(check_instance(queue_->spec(), *request, 0, 0).ok());
  request->at(0, 0) = floats({7, 2}, 1);
  EXPECT_TRUE(check_instance(queue_->spec(), *request, 0, 0).ok());
  request->at(0, 0) = floats({7, 3}, 1);
  EXPECT_NE(check_instance(queue_->spec(), *request, 0, 0).message().find("float32 [?, 2]; given float32 [7, 3]"),
            std::string_view::npos);
  request->at(0, 0) = floats({14}, 1);
  EXPECT_FALSE(check_instance(queue_->spec(), *request, 0, 0).ok());
}

TEST_F(CalleeQueueTest, APortThatDoesNotSayItsTypeTakesNumbersOfAny) {
  CalleeSpec any = method_->servable->callees[0];
  any.input_ports[0].dtype = DataType::kUnknown;
  const CalleeQueue queue(&any);
  auto request = with({1}, 5);
  EXPECT_TRUE(check_instance(queue.spec(), *request, 0, 0).ok());
  request->at(0, 0).dtype = DataType::kInt32;
  EXPECT_TRUE(check_instance(queue.spec(), *request, 0, 0).ok());
  request->at(0, 0).dtype = DataType::kString;
  EXPECT_NE(check_instance(queue.spec(), *request, 0, 0).message().find("has to be numbers [?, 2]; given str"),
            std::string_view::npos);
  any.input_ports[0].shape = {2};
  request->at(0, 0) = floats({2}, 1);
  EXPECT_TRUE(check_instance(queue.spec(), *request, 0, 0).ok());
  request->at(0, 0).dtype = DataType::kFloat64;  // of which two have 16 bytes, not 8
  EXPECT_FALSE(check_instance(queue.spec(), *request, 0, 0).ok());
}

}  // namespace
}  // namespace servoir
