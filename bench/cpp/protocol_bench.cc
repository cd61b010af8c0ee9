// Protobuf and JSON of the Predict and REST messages: what one request costs on an I/O thread before it is queued and
// after it is answered.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "protocol/base64.h"
#include "protocol/seed/predict_reader.h"
#include "protocol/seed/predict_stream.h"
#include "protocol/seed/predict_writer.h"
#include "protocol/seed/rest_reader.h"
#include "protocol/seed/rest_writer.h"
#include "protocol_world.h"
#include "seed/predict_messages.h"

namespace servoir::seed {
namespace {

ProtocolWorld& world() {
  static ProtocolWorld made;
  return made;
}

// A request of `instances` instances with one float32 input of `bytes` bytes.
std::string predict_message(std::int64_t instances, std::int64_t bytes) {
  const std::vector<float> values(static_cast<std::size_t>(bytes) / 4, 0.5F);
  return messages::request(messages::spec("echo"),
                           std::vector<std::string>(static_cast<std::size_t>(instances),
                                                    messages::instance({{"x", messages::floats(values)}})));
}

std::shared_ptr<Request> answered(std::int64_t instances, const std::vector<float>& values) {
  auto request = make_request(ProtocolWorld::must(world().scheduler->find("add", 0, "echo")),
                              static_cast<std::uint32_t>(instances));
  for (std::uint32_t i = 0; i < request->instances; ++i) {
    request->at(1, i) =
        make_numbers(world().arena.get(), DataType::kFloat32, {static_cast<std::int64_t>(values.size())}, values);
  }
  return request;
}

// Full mantissas, as a model gives them: eight or nine digits each.
std::vector<float> random_floats(std::size_t count) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> distribution(-1.0F, 1.0F);
  std::vector<float> values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

std::string json_of(const Request& request) {
  Payload payload;
  benchmark::DoNotOptimize(write_rest_reply(request, &payload));
  return payload_text(&payload);
}

void set_bytes(benchmark::State& state, std::uint64_t bytes) {
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes) * state.iterations());
}

void Predict_Read(benchmark::State& state) {
  const std::string message = predict_message(state.range(0), state.range(1));
  for (auto _ : state) {
    auto request = messages::read_whole(&world(), message);
    if (!request.ok()) state.SkipWithError("refused");
    benchmark::DoNotOptimize(request);
  }
  set_bytes(state, message.size());
}
BENCHMARK(Predict_Read)->Args({1, 64})->Args({1, 3136})->Args({16, 64})->Args({1000, 64});

// As it comes from a socket: in pieces of 16 KiB.
void Predict_Stream(benchmark::State& state) {
  const std::string message = predict_message(state.range(0), state.range(1));
  for (auto _ : state) {
    PredictStream stream(message.size(), world().scheduler.get(), world().slabs.get());
    for (std::size_t at = 0; at < message.size(); at += 16384) {
      const std::string_view piece = std::string_view(message).substr(at, 16384);
      if (!stream.feed(as_bytes(piece)).ok()) state.SkipWithError("refused");
    }
    auto request = stream.finish();
    if (!request.ok()) state.SkipWithError("refused");
    benchmark::DoNotOptimize(request);
  }
  set_bytes(state, message.size());
}
BENCHMARK(Predict_Stream)->Args({1, 2408448})->Args({100, 3136})->Args({10000, 64});

void Predict_Write(benchmark::State& state) {
  const auto request = answered(state.range(0), std::vector<float>(static_cast<std::size_t>(state.range(1)) / 4, 0.5F));
  std::uint64_t bytes = 0;
  for (auto _ : state) {
    Payload payload;
    write_predict_reply(*request, &payload);
    bytes = payload.size();
    benchmark::DoNotOptimize(payload);
  }
  set_bytes(state, bytes);
}
BENCHMARK(Predict_Write)->Args({1, 64})->Args({1, 3136})->Args({1, 2408448})->Args({1000, 64});

constexpr std::size_t kJsonFloats = 280000;  // about 3 MB of text

// Reads the numbers of answered() by this method.
void read_json(benchmark::State& state, const char* method, const std::vector<float>& values) {
  std::string body = json_of(*answered(1, values));
  body[body.find('y')] = 'x';
  const std::size_t size = body.size();
  body.append(kJsonPadding, ' ');
  const RestTarget target{"add", 0, method};
  for (auto _ : state) {
    auto request =
        read_rest_request(target, std::string_view(body).substr(0, size), world().scheduler.get(), world().slabs.get());
    if (!request.ok()) state.SkipWithError("refused");
    benchmark::DoNotOptimize(request);
  }
  set_bytes(state, size);
}

// Floats for an input without a type.
void Json_Read(benchmark::State& state) {
  read_json(state, "echo", random_floats(static_cast<std::size_t>(state.range(0))));
}
BENCHMARK(Json_Read)->Arg(16)->Arg(kJsonFloats)->Unit(benchmark::kMicrosecond);

// Floats for an input of float32.
void Json_ReadTyped(benchmark::State& state) {
  read_json(state, "floats", random_floats(static_cast<std::size_t>(state.range(0))));
}
BENCHMARK(Json_ReadTyped)->Arg(16)->Arg(kJsonFloats)->Unit(benchmark::kMicrosecond);

void Json_Write(benchmark::State& state) {
  const auto request = answered(1, random_floats(static_cast<std::size_t>(state.range(0))));
  std::uint64_t bytes = 0;
  for (auto _ : state) {
    Payload payload;
    benchmark::DoNotOptimize(write_rest_reply(*request, &payload));
    bytes = payload.size();
    benchmark::DoNotOptimize(payload);
  }
  set_bytes(state, bytes);
}
BENCHMARK(Json_Write)->Arg(16)->Arg(kJsonFloats)->Unit(benchmark::kMicrosecond);

void Base64_Decode(benchmark::State& state) {
  const std::string text(static_cast<std::size_t>(state.range(0)), 'q');
  std::vector<std::byte> out(text.size());
  for (auto _ : state) {
    if (!base64_decode(text, out.data()).ok()) state.SkipWithError("refused");
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  set_bytes(state, text.size());
}
BENCHMARK(Base64_Decode)->Arg(1 << 20);

void Base64_Encode(benchmark::State& state) {
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)), std::byte{0x5A});
  std::string out(base64_encoded_bytes(bytes.size()), '\0');
  for (auto _ : state) {
    base64_encode(bytes, out.data());
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  set_bytes(state, out.size());
}
BENCHMARK(Base64_Encode)->Arg(1 << 20);

}  // namespace
}  // namespace servoir::seed
