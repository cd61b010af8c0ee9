// Makes the bytes of PredictRequests with protozero, which the code under test does not use for reading.
#pragma once

#include <algorithm>
#include <protozero/pbf_writer.hpp>
#include <string>
#include <vector>

#include "protocol/seed/predict_reader.h"
#include "protocol/seed/predict_stream.h"
#include "protocol_world.h"

namespace servoir::seed::messages {

inline std::string shape(const std::vector<std::int64_t>& dims) {
  std::string out;
  protozero::pbf_writer(out).add_packed_int64(1, dims.begin(), dims.end());
  return out;
}
inline std::string tensor(const std::vector<std::int64_t>& dims, int dtype, std::string_view data) {
  std::string out;
  protozero::pbf_writer writer(out);
  writer.add_message(1, shape(dims));
  writer.add_enum(2, dtype);
  writer.add_bytes(3, data.data(), data.size());
  return out;
}
inline std::string text(const std::vector<std::int64_t>& dims, int dtype, const std::vector<std::string>& values) {
  std::string out;
  protozero::pbf_writer writer(out);
  writer.add_message(1, shape(dims));
  writer.add_enum(2, dtype);
  for (const std::string& value : values) writer.add_bytes(4, value);
  return out;
}
template <typename T>
std::string numbers(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}
inline std::string floats(const std::vector<float>& values) {
  return tensor({static_cast<std::int64_t>(values.size())}, 11, numbers(values));
}
inline std::string item(const std::string& name, const std::string& value) {
  std::string out;
  protozero::pbf_writer writer(out);
  writer.add_string(1, name);
  writer.add_message(2, value);
  return out;
}
inline std::string instance(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string out;
  protozero::pbf_writer writer(out);
  for (const auto& [name, value] : items) writer.add_message(1, item(name, value));
  return out;
}
inline std::string spec(const std::string& method, std::uint64_t version = 0, const std::string& servable = "add") {
  std::string out;
  protozero::pbf_writer writer(out);
  writer.add_string(1, servable);
  writer.add_string(2, method);
  if (version != 0) writer.add_uint64(3, version);
  return out;
}
inline std::string field(std::uint32_t number, const std::string& body) {
  std::string out;
  protozero::pbf_writer(out).add_message(number, body);
  return out;
}
inline std::string request(const std::string& spec_message, const std::vector<std::string>& instances) {
  std::string out = field(1, spec_message);
  for (const std::string& one : instances) out += field(2, one);
  return out;
}

inline Result<std::shared_ptr<Request>> read_whole(ProtocolWorld* world, std::string_view message) {
  return read_predict_request(as_bytes(message), world->scheduler.get(), world->slabs.get());
}

// Feeds the message in pieces of these sizes; the last one repeats.
inline Result<std::shared_ptr<Request>> read_stream(ProtocolWorld* world, std::string_view message,
                                                    const std::vector<std::size_t>& pieces) {
  PredictStream stream(message.size(), world->scheduler.get(), world->slabs.get());
  std::size_t turn = 0;
  while (!message.empty()) {
    const std::size_t wanted = std::max<std::size_t>(pieces[std::min(turn++, pieces.size() - 1)], 1);
    // A copy of exactly the piece, so that a sanitizer sees reads beyond it.
    const std::vector<char> piece(message.begin(),
                                  message.begin() + static_cast<std::ptrdiff_t>(std::min(wanted, message.size())));
    SERVOIR_RETURN_IF_ERROR(stream.feed(as_bytes({piece.data(), piece.size()})));
    message.remove_prefix(piece.size());
  }
  return stream.finish();
}

}  // namespace servoir::seed::messages
