// The messages of MSService/Predict for tests, just what they need, written without the code under test.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace servoir {

inline std::string pb_varint(std::uint64_t n) {
  std::string out;
  while (n >= 0x80) {
    out += static_cast<char>((n & 0x7FU) | 0x80U);
    n >>= 7U;
  }
  return out + static_cast<char>(n);
}
inline std::string pb_bytes(unsigned number, std::string_view bytes) {
  return pb_varint(number << 3U | 2U).append(pb_varint(bytes.size())).append(bytes);
}
inline std::string pb_number(unsigned number, std::uint64_t value) {
  return pb_varint(number << 3U).append(pb_varint(value));
}

inline constexpr char kPredict[] = "/mindspore.serving.proto.MSService/Predict";

// One instance {"x": float32[values.size()]} for each vector.
inline std::string predict_request(const std::vector<std::vector<float>>& instances,
                                   const std::string& servable = "w1") {
  std::string message = pb_bytes(1, pb_bytes(1, servable) + pb_bytes(2, "predict"));
  for (const std::vector<float>& x : instances) {
    const std::string_view data(reinterpret_cast<const char*>(x.data()), x.size() * sizeof(float));
    const std::string tensor = pb_bytes(1, pb_bytes(1, pb_varint(x.size()))) + pb_number(2, 11) + pb_bytes(3, data);
    message += pb_bytes(2, pb_bytes(1, pb_bytes(1, "x") + pb_bytes(2, tensor)));
  }
  return message;
}

// All values of all fields with this path of numbers: {3, 1, 2, 3} is the data of the tensors of the instances.
inline std::vector<std::string> pb_find(std::string_view message, std::span<const unsigned> path) {
  std::vector<std::string> found;
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (unsigned shift = 0; !message.empty(); shift += 7) {
      const auto byte = static_cast<std::uint8_t>(message.front());
      message.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
      if (byte < 0x80) break;
    }
    return value;
  };
  while (!message.empty()) {
    const std::uint64_t key = varint();
    if ((key & 7U) == 0) {
      const std::uint64_t value = varint();
      if (key >> 3U == path.front() && path.size() == 1) found.push_back(std::to_string(value));
      continue;
    }
    const std::string_view bytes = message.substr(0, varint());
    message.remove_prefix(bytes.size());
    if (key >> 3U != path.front()) continue;
    if (path.size() == 1) {
      found.emplace_back(bytes);
    } else {
      for (std::string& inner : pb_find(bytes, path.subspan(1))) found.push_back(std::move(inner));
    }
  }
  return found;
}
inline std::vector<std::string> pb_find(std::string_view message, std::initializer_list<unsigned> path) {
  return pb_find(message, std::span<const unsigned>(path.begin(), path.size()));
}

inline std::vector<std::vector<float>> predict_values(std::string_view message) {
  std::vector<std::vector<float>> values;
  for (const std::string& data : pb_find(message, {3, 1, 2, 3})) {
    std::vector<float>& row = values.emplace_back(data.size() / sizeof(float));
    std::memcpy(row.data(), data.data(), data.size());
  }
  return values;
}
inline std::vector<std::string> predict_errors(std::string_view message) { return pb_find(message, {4, 2}); }

}  // namespace servoir
