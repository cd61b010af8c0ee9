// Each message is read whole and in pieces of many sizes: the outcome must be the same.

#include "protocol/seed/predict_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "seed/predict_fixture.h"

namespace servoir::seed {
namespace {

using namespace messages;  // NOLINT(google-build-using-namespace)

TEST_F(PredictReader, MessageOfAnotherImplementation) {
  // Written by Google's protobuf for Python: add_cast of servable add, version 300, two instances.
  std::vector<unsigned char> bytes = {
      0x0a, 0x12, 0x0a, 0x03, 0x61, 0x64, 0x64, 0x12, 0x08, 0x61, 0x64, 0x64, 0x5f, 0x63, 0x61, 0x73, 0x74,
      0x18, 0xac, 0x02, 0x12, 0x33, 0x0a, 0x20, 0x0a, 0x02, 0x78, 0x31, 0x12, 0x1a, 0x0a, 0x04, 0x0a, 0x02,
      0x02, 0x02, 0x10, 0x0b, 0x1a, 0x10, 0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x40,
      0x40, 0x00, 0x00, 0x80, 0x40, 0x0a, 0x0f, 0x0a, 0x02, 0x78, 0x32, 0x12, 0x09, 0x0a, 0x00, 0x10, 0x0d,
      0x22, 0x03, 0x68, 0xc3, 0xa9, 0x12, 0xf0, 0x01, 0x0a, 0xda, 0x01, 0x0a, 0x02, 0x78, 0x31, 0x12, 0xd3,
      0x01, 0x0a, 0x04, 0x0a, 0x02, 0xc8, 0x01, 0x10, 0x03, 0x1a, 0xc8, 0x01};
  for (unsigned i = 0; i < 200; ++i) bytes.push_back(static_cast<unsigned char>(i));
  for (const int c : {0x0a, 0x11, 0x0a, 0x02, 0x78, 0x32, 0x12, 0x0b, 0x0a, 0x03, 0x0a, 0x01, 0x01, 0x10, 0x0e, 0x22,
                      0x02, 0xff, 0x00}) {
    bytes.push_back(static_cast<unsigned char>(c));
  }
  ASSERT_EQ(bytes.size(), 316U);
  const std::string message(bytes.begin(), bytes.end());
  EXPECT_EQ(read(message).substr(0, 3), "5: ");  // no version 300 here

  // The same with version 3 and method add.
  std::string known = field(1, spec("add", 3)) + message.substr(20);
  const std::string text = read(known);
  EXPECT_EQ(text.substr(0, 120),
            "add 3 | x1=float32[2, 2]:0000803f000000400000404000008040 x2=str[]:68c3a9 | "
            "x1=uint8[200]:000102030405060708090a0b0c0d0e");
  EXPECT_TRUE(text.ends_with("c6c7 x2=bytes[]:ff00"));
}

TEST_F(PredictReader, VersionZeroIsTheNewest) {
  EXPECT_EQ(read(request(spec("echo"), {instance({{"x", floats({1})}})})), "echo 3 | x=float32[1]:0000803f");
  EXPECT_EQ(read(request(spec("echo", 1), {instance({{"x", floats({1})}})})), "echo 1 | x=float32[1]:0000803f");
}

TEST_F(PredictReader, UnknownNames) {
  EXPECT_EQ(read(request(spec("echo", 0, "nobody"), {instance({})})).substr(0, 2), "5:");
  EXPECT_EQ(read(request(spec("nobody"), {instance({})})).substr(0, 2), "5:");
  EXPECT_EQ(read(request(spec("echo", 2), {instance({})})).substr(0, 2), "5:");
  EXPECT_EQ(read(field(2, instance({}))).substr(0, 3), "3: ");
  EXPECT_NE(read("").find("servable_spec"), std::string::npos);
}

TEST_F(PredictReader, NoInstances) { EXPECT_NE(read(field(1, spec("echo"))).find("no instances"), std::string::npos); }

TEST_F(PredictReader, MissingInputNamesInstanceAndInput) {
  const std::string text = read(
      request(spec("add"), {instance({{"x1", floats({1})}, {"x2", floats({2})}}), instance({{"x1", floats({1})}})}));
  EXPECT_EQ(text, "3: instance 1 lacks input 'x2' of method 'add' of servable 'add'");
}

TEST_F(PredictReader, ManyEmptyInstancesFailAtTheFirst) {
  std::string message = field(1, spec("echo"));
  for (int i = 0; i < 300000; ++i) message += std::string("\x12\x00", 2);
  const ArenaUsage before = world.arena->usage();
  EXPECT_EQ(read(message, {message.size(), 65536}).substr(0, 26), "3: instance 0 lacks input ");
  EXPECT_EQ(world.arena->usage().in_use, before.in_use);
}

TEST_F(PredictReader, MethodWithoutInputs) {
  EXPECT_EQ(read(request(spec("nothing"), {instance({}), instance({})})), "nothing 3 | |");
  std::string message = field(1, spec("nothing"));
  for (std::uint32_t i = 0; i < kMaxInstances; ++i) message += std::string("\x12\x00", 2);
  EXPECT_EQ(read(message, {65536}).substr(0, 7), "nothing");
  message += std::string("\x12\x00", 2);
  EXPECT_NE(read(message, {65536}).find("more than 262144 instances"), std::string::npos);
}

TEST_F(PredictReader, ExtraInputsAreIgnoredWhateverTheyHold) {
  const std::string nonsense = "\xff\xff\xff";
  EXPECT_EQ(read(request(spec("echo"), {instance({{"zzz", nonsense}, {"x", floats({1})}, {"", floats({2})}})})),
            "echo 3 | x=float32[1]:0000803f");
  // Large, so that the stream takes it apart.
  EXPECT_EQ(read(request(spec("echo"), {instance({{"zzz", tensor({100000}, 3, std::string(100000, 'a'))},
                                                  {"yyy", std::string(100000, '\xff')},
                                                  {"x", floats({1})}})})),
            "echo 3 | x=float32[1]:0000803f");
}

TEST_F(PredictReader, EveryNumberType) {
  const std::vector<std::pair<int, int>> types = {{1, 1}, {2, 1}, {3, 1}, {4, 2},  {5, 2},  {6, 4},
                                                  {7, 4}, {8, 8}, {9, 8}, {10, 2}, {11, 4}, {12, 8}};
  for (const auto& [dtype, bytes] : types) {
    const std::string data(static_cast<std::size_t>(bytes) * 6, '\x01');
    EXPECT_EQ(accept(tensor({2, 3}, dtype, data)).substr(0, 9), "echo 3 | ");
    EXPECT_EQ(accept(tensor({}, dtype, data.substr(0, static_cast<std::size_t>(bytes)))).substr(0, 9), "echo 3 | ");
    const std::string error = tensor_error(tensor({2, 3}, dtype, data + "x"));
    EXPECT_NE(error.find("[2, 3] takes " + std::to_string(bytes * 6) + " bytes, " + std::to_string(bytes * 6 + 1)),
              std::string::npos)
        << error;
    (void)tensor_error(tensor({2, 3}, dtype, data.substr(1)));
    (void)tensor_error(tensor({2, 3}, dtype, ""));
  }
}

TEST_F(PredictReader, BadTensors) {
  EXPECT_NE(tensor_error(tensor({1}, 0, "a")).find("MS_UNKNOWN"), std::string::npos);
  EXPECT_NE(tensor_error(tensor({1}, 15, "a")).find("dtype is 15"), std::string::npos);
  EXPECT_NE(tensor_error(tensor({-1}, 3, "a")).find("-1"), std::string::npos);
  EXPECT_NE(tensor_error(tensor({std::numeric_limits<std::int64_t>::min()}, 3, "a")).find("-9223372036854775808"),
            std::string::npos);
  (void)tensor_error(tensor({-1, -1}, 3, "a"));
  const std::int64_t huge = std::numeric_limits<std::int64_t>::max();
  (void)tensor_error(tensor({huge, huge}, 3, "a"));
  (void)tensor_error(tensor({1LL << 32, 1LL << 32}, 3, ""));
  (void)tensor_error(tensor({huge, 2, 2}, 8, "a"));
  EXPECT_NE(tensor_error(tensor({1, 1, 1, 1, 1, 1, 1, 1, 1}, 3, "a")).find("9 dimensions"), std::string::npos);
  EXPECT_EQ(accept(tensor({1, 1, 1, 1, 1, 1, 1, 1}, 3, "a")), "echo 3 | x=uint8[1, 1, 1, 1, 1, 1, 1, 1]:61");
  EXPECT_NE(tensor_error(text({}, 11, {"abcd"})).find("1 bytes_val"), std::string::npos);
  EXPECT_NE(tensor_error(tensor({1}, 3, "a") + field(4, "a")).find("bytes_val"), std::string::npos);
  EXPECT_NE(tensor_error(tensor({1}, 3, "a") + field(5, "a")).find("shm_data"), std::string::npos);
  (void)tensor_error("");
  (void)tensor_error("\x0a");
  const std::string no_value = field(1, "x");
  EXPECT_NE(read(request(spec("echo"), {field(1, no_value)})).find("MS_UNKNOWN"), std::string::npos);
}

TEST_F(PredictReader, ZeroSize) {
  EXPECT_EQ(accept(tensor({0}, 11, "")), "echo 3 | x=float32[0]:");
  EXPECT_EQ(accept(tensor({2, 0}, 11, "")), "echo 3 | x=float32[2, 0]:");
  EXPECT_EQ(accept(tensor({1, 2, 0, 1}, 11, "")), "echo 3 | x=float32[1, 2, 0, 1]:");
  EXPECT_EQ(accept(tensor({0, 0}, 11, "")), "echo 3 | x=float32[0, 0]:");
  (void)tensor_error(tensor({0}, 11, "a"));
  // Without the field at all.
  std::string absent;
  protozero::pbf_writer writer(absent);
  writer.add_message(1, shape({0}));
  writer.add_enum(2, 11);
  EXPECT_EQ(accept(absent), "echo 3 | x=float32[0]:");
}

TEST_F(PredictReader, RowsWithoutElementsAreLimitedInARequest) {
  constexpr std::int64_t kLargest = (std::int64_t{1} << 60U) - 1;
  for (const std::vector<std::int64_t>& dims :
       {std::vector<std::int64_t>{kLargest, 0}, {2000, 1000, 0}, {(1 << 20) + 2, 0}}) {
    const std::string error = tensor_error(tensor(dims, 11, ""));
    EXPECT_NE(error.find("at most 1048576"), std::string::npos) << error;
    EXPECT_NE(error.find("instance 0, input 'x'"), std::string::npos) << error;
  }
  const std::string most = field(2, instance({{"x", tensor({1 << 19, 0}, 11, "")}}));
  EXPECT_TRUE(read_whole(&world, field(1, spec("echo")) + most + most).ok());
  const std::string error = read(field(1, spec("echo")) + most + most + most);
  EXPECT_NE(error.find("instance 2, input 'x'"), std::string::npos) << error;
  EXPECT_NE(error.find("1048576"), std::string::npos) << error;
}

TEST_F(PredictReader, OutputBuffersAreRefused) {
  EXPECT_NE(read(request(spec("echo"), {instance({{"x", floats({1})}}) + field(2, "")})).find("output_buffers"),
            std::string::npos);
  EXPECT_NE(read(request(spec("echo"), {instance({{"x", floats(std::vector<float>(50000))}}) + field(2, "abc")}))
                .find("output_buffers"),
            std::string::npos);
}

TEST_F(PredictReader, UnknownFieldsOfEveryWireTypeAreSkipped) {
  std::string unknown;
  protozero::pbf_writer writer(unknown);
  writer.add_uint64(100, std::numeric_limits<std::uint64_t>::max());
  writer.add_fixed32(101, 1);
  writer.add_fixed64(102, 1);
  writer.add_bytes(103, std::string(300, 'u'));
  writer.add_uint64(536870911, 1);
  for (const std::size_t values : {std::size_t{1}, std::size_t{40000}}) {
    const std::string value = unknown + floats(std::vector<float>(values, 1.0F)) + unknown;
    const std::string with_item = unknown + item("x", value) + unknown;
    const std::string with_instance = unknown + field(1, with_item) + unknown;
    const std::string message =
        unknown + field(1, unknown + spec("echo")) + unknown + field(2, with_instance) + unknown;
    EXPECT_TRUE(read(message).starts_with("echo 3 | x=float32[" + std::to_string(values) + "]:0000803f"));
  }
  // Known numbers with another wire type are unknown fields.
  std::string other;
  protozero::pbf_writer other_writer(other);
  other_writer.add_uint64(1, 7);
  other_writer.add_fixed32(2, 7);
  EXPECT_EQ(read(other + request(spec("echo"), {other + instance({{"x", floats({1})}})}) + other),
            "echo 3 | x=float32[1]:0000803f");
}

TEST_F(PredictReader, UnpackedDims) {
  std::string value;
  protozero::pbf_writer writer(value);
  std::string dims;
  protozero::pbf_writer dims_writer(dims);
  dims_writer.add_int64(1, 2);
  dims_writer.add_int64(1, 1);
  writer.add_message(1, dims);
  writer.add_enum(2, 3);
  writer.add_bytes(3, "ab", 2);
  EXPECT_EQ(accept(value), "echo 3 | x=uint8[2, 1]:6162");
}

TEST_F(PredictReader, RepeatedFieldsMergeOrTheLastWins) {
  const std::string value = tensor({2}, 3, "ab");
  // Map key twice: the later entry.
  EXPECT_EQ(read(request(spec("echo"), {instance({{"x", floats({1})}, {"x", value}})})), "echo 3 | x=uint8[2]:6162");
  // dtype and data twice, shape merged: [2] and [1] give [2, 1].
  EXPECT_EQ(accept(tensor({2}, 11, "zz") + tensor({1}, 3, "ab")), "echo 3 | x=uint8[2, 1]:6162");
  // The value of an entry twice merges as well.
  const std::string twice =
      field(1, "y") + field(1, "x") + field(2, tensor({2}, 11, "zz")) + field(2, tensor({}, 3, "ab"));
  EXPECT_EQ(read(request(spec("echo"), {field(1, twice)})), "echo 3 | x=uint8[2]:6162");
  // The spec in two halves, and a method that comes twice.
  std::string name;
  protozero::pbf_writer(name).add_string(1, "add");
  std::string method;
  protozero::pbf_writer(method).add_string(2, "echo");
  const std::string one = field(2, instance({{"x", value}}));
  EXPECT_EQ(read(field(1, spec("many")) + field(1, method) + one), "echo 3 | x=uint8[2]:6162");
  EXPECT_EQ(read(field(1, name) + field(1, method) + one), "echo 3 | x=uint8[2]:6162");
  // Behind the instances, too, as long as no other method was chosen before.
  EXPECT_EQ(read(one + field(1, name) + one + field(1, method)), "echo 3 | x=uint8[2]:6162 | x=uint8[2]:6162");
  EXPECT_EQ(read(field(1, spec("echo")) + one + field(1, method)), "echo 3 | x=uint8[2]:6162");
  EXPECT_NE(read(field(1, spec("many")) + one + field(1, method)).find("servable_spec"), std::string::npos);
}

TEST_F(PredictReader, FieldsInAnyOrder) {
  for (const std::size_t count : {std::size_t{2}, std::size_t{100000}}) {
    const std::string data(count, 'd');
    const std::string data_field = field(3, data);
    std::string dtype_field;
    protozero::pbf_writer(dtype_field).add_enum(2, 3);
    const std::string shape_field = field(1, shape({static_cast<std::int64_t>(count)}));
    const std::string usual = accept(shape_field + dtype_field + data_field);
    ASSERT_TRUE(usual.starts_with("echo 3 | x=uint8[" + std::to_string(count) + "]:6464"));
    std::vector<std::string> parts = {data_field, dtype_field, shape_field};
    std::sort(parts.begin(), parts.end());
    do {
      const std::string value = parts[0] + parts[1] + parts[2];
      EXPECT_TRUE(accept(value) == usual);
      // Value before key, spec after the instances.
      const std::string entry = field(2, value) + field(1, "x");
      EXPECT_TRUE(read(request(spec("echo"), {field(1, entry)})) == usual);
      EXPECT_TRUE(read(field(2, field(1, entry)) + field(1, spec("echo")), {1000, 70000, 1000000}) == usual);
      // Data twice, once small.
      EXPECT_TRUE(accept(field(3, "zz") + value) == usual);
    } while (std::next_permutation(parts.begin(), parts.end()));
  }
}

TEST_F(PredictReader, MalformedBytes) {
  const std::string good = request(spec("echo"), {instance({{"x", floats({1})}})});
  for (std::size_t cut = 0; cut < good.size(); ++cut) {
    EXPECT_EQ(read(good.substr(0, cut), {1, 5, 1000}).substr(0, 3), "3: ") << cut;
  }
  const std::vector<std::string> bad = {
      std::string("\x0b", 1),                                       // group
      std::string("\x0c", 1),                                       // end of group
      std::string("\x0e\x00", 2),                                   // wire type 6
      std::string("\x0f\x00", 2),                                   // wire type 7
      std::string("\x00\x00", 2),                                   // field 0
      std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),  // a varint of 11 bytes
      std::string("\xf8\xff\xff\xff\x7f\x00", 6),                   // a tag beyond 32 bits
      std::string("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),  // a length of 2^64 - 1
      std::string("\x60"),                                          // a varint that is missing
      std::string("\x61\x00\x00", 3),                               // fixed64 cut
      std::string("\x65\x00\x00", 3),                               // fixed32 cut
  };
  const std::string filler(70000, 'f');
  for (const std::string& bytes : bad) {
    EXPECT_EQ(read(good + bytes).substr(0, 3), "3: ");
    EXPECT_EQ(read(bytes + good).substr(0, 3), "3: ");
    EXPECT_EQ(read(field(1, spec("echo") + bytes) + good).substr(0, 3), "3: ");
    EXPECT_EQ(read(request(spec("echo"), {instance({{"x", floats({1})}}) + bytes})).substr(0, 3), "3: ");
    EXPECT_EQ(read(request(spec("echo"), {field(1, item("x", floats({1})) + bytes)})).substr(0, 3), "3: ");
    (void)tensor_error(floats({1}) + bytes);
    (void)tensor_error(field(1, bytes) + floats({1}));
    // In a large instance and a large entry, which the stream takes apart.
    EXPECT_EQ(read(request(spec("echo"), {field(9, filler) + bytes})).substr(0, 3), "3: ");
    EXPECT_EQ(read(request(spec("echo"), {field(1, bytes + item("x", tensor({70000}, 3, filler)))})).substr(0, 3),
              "3: ");
    (void)tensor_error(bytes + tensor({70000}, 3, filler));
    (void)tensor_error(field(1, bytes) + tensor({70000}, 3, filler));
  }
}

TEST_F(PredictReader, ManyInstances) {
  for (const std::size_t values : {std::size_t{1}, std::size_t{1000}, std::size_t{20000}}) {
    std::vector<std::string> instances;
    const std::size_t count = values == 1 ? 100 : 7;
    for (std::size_t i = 0; i < count; ++i) {
      const std::vector<float> x1(values, static_cast<float>(i));
      // One instance of another size among them.
      const std::vector<float> x2(i == 3 ? values + 1 : values, -static_cast<float>(i));
      instances.push_back(instance({{"x2", floats(x2)}, {"x1", floats(x1)}}));
    }
    const std::string message = request(spec("add"), instances);
    const std::string got = read(message, {7, 1000, 16384, message.size()});
    EXPECT_TRUE(got.starts_with("add 3 | x1=float32[" + std::to_string(values) + "]:00000000")) << got.substr(0, 100);
    const auto whole = read_whole(&world, message);
    ASSERT_TRUE(whole.ok());
    ASSERT_EQ((*whole)->instances, count);
    for (std::uint32_t i = 0; i < count; ++i) {
      float first = 0;
      std::memcpy(&first, (*whole)->at(1, i).data(), sizeof(first));
      EXPECT_EQ(first, -static_cast<float>(i));
    }
  }
}

TEST_F(PredictReader, InstancesOfOneSizeLieTogether) {
  std::vector<std::string> instances;
  for (int i = 0; i < 20; ++i) {
    instances.push_back(instance({{"x1", floats(std::vector<float>(20000))}, {"x2", floats({1})}}));
  }
  const std::string message = request(spec("add"), instances);
  const auto whole = read_whole(&world, message);
  const auto streamed = read_stream(&world, message, {16384});
  for (const auto* result : {&whole, &streamed}) {
    ASSERT_TRUE(result->ok()) << result->status().message();
    Request& read_request = *result->value();
    for (std::uint32_t i = 1; i < 20; ++i) {
      EXPECT_EQ(read_request.at(0, i).offset, read_request.at(0, i - 1).offset + 80000) << i;
      EXPECT_EQ(read_request.at(1, i).offset, read_request.at(1, i - 1).offset + 4) << i;
    }
  }
}

TEST_F(PredictReader, AMessageReservesNoMoreThanItsOwnSize) {
  // The first instance is large, many small ones follow: rows for all in the size of the first would be 20 GB.
  std::vector<std::string> instances = {instance({{"x", tensor({100000}, 3, std::string(100000, 'a'))}})};
  for (int i = 0; i < 200000; ++i) instances.push_back(instance({{"x", tensor({}, 3, "b")}}));
  const std::string message = request(spec("echo"), instances);
  EXPECT_TRUE(read_whole(&world, message).ok());
  EXPECT_LT(world.arena->usage().peak, 64U << 20U);
  EXPECT_TRUE(read_stream(&world, message, {16384}).ok());
  EXPECT_LT(world.arena->usage().peak, 64U << 20U);
}

TEST_F(PredictReader, ArenaFull) {
  ProtocolWorld small(16U << 20U);
  const std::string message =
      request(spec("echo"), {instance({{"x", tensor({64 << 20}, 3, std::string(64U << 20U, 'a'))}})});
  EXPECT_EQ(read_whole(&small, message).status().code(), Code::kResourceExhausted);
  EXPECT_EQ(read_stream(&small, message, {16384}).status().code(), Code::kResourceExhausted);
}

TEST_F(PredictReader, SpecOfAFailedRequest) {
  const std::string message = request(spec("echo", 3), {instance({})});
  PredictSpec failed;
  EXPECT_FALSE(read_predict_request(as_bytes(message), world.scheduler.get(), world.slabs.get(), &failed).ok());
  EXPECT_EQ(failed.servable, "add");
  EXPECT_EQ(failed.method, "echo");
  EXPECT_EQ(failed.version, 3U);
  for (const std::string& order : {message, field(2, instance({})) + field(1, spec("echo", 3))}) {
    PredictStream stream(order.size(), world.scheduler.get(), world.slabs.get());
    Status fed;
    for (std::size_t i = 0; i < order.size() && fed.ok(); ++i) fed = stream.feed(as_bytes(order).subspan(i, 1));
    EXPECT_FALSE(fed.ok());
    EXPECT_EQ(stream.spec().servable, "add");
    EXPECT_EQ(stream.spec().method, "echo");
    EXPECT_EQ(stream.spec().version, 3U);
  }
}

TEST_F(PredictReader, StreamEndsEarlyOrGetsTooMuch) {
  const std::string message = request(spec("echo"), {instance({{"x", floats({1})}})});
  PredictStream early(message.size() + 1, world.scheduler.get(), world.slabs.get());
  EXPECT_TRUE(early.feed(as_bytes(message)).ok());
  EXPECT_EQ(early.finish().status().code(), Code::kInvalidArgument);
  PredictStream late(message.size() - 1, world.scheduler.get(), world.slabs.get());
  EXPECT_FALSE(late.feed(as_bytes(message)).ok());
}

TEST_F(PredictReader, RandomDamageNeverDivides) {
  std::mt19937 random(20261122);
  const std::vector<std::string> seeds = {
      request(spec("add", 1), {instance({{"x1", floats({1, 2})}, {"x2", text({}, 13, {"text"})}}),
                               instance({{"x2", tensor({2, 2}, 3, "abcd")}, {"x1", text({1}, 14, {"b"})}})}),
      request(spec("echo"), {instance({{"x", tensor({70000}, 3, std::string(70000, 'a'))}})}),
  };
  for (int round = 0; round < 3000; ++round) {
    std::string message = seeds[round % 20 == 0 ? 1 : 0];
    const std::size_t reach = std::min<std::size_t>(message.size(), 200);
    for (unsigned change = 0; change <= random() % 3; ++change) {
      const std::size_t at = random() % std::min(reach, message.size());
      switch (random() % 3) {
        case 0:
          message[at] = static_cast<char>(random());
          break;
        case 1:
          message.erase(at, 1 + random() % 3);
          break;
        default:
          message.insert(at, 1, static_cast<char>(random()));
          break;
      }
    }
    (void)read(message, {1 + random() % 9, 1 + random() % 100});
  }
}

}  // namespace
}  // namespace servoir::seed
