// The mark that is left at the end of the memory for an output before a run, to see afterwards whether the output was
// written. When the result is larger than the memory, or shapes in the graph do not fit each other, some releases of
// OpenVINO (2026.4) neither fail nor write nor say so. Pure functions.
#pragma once

#include <cstdint>

namespace servoir::openvino {

// The two marks differ in every byte, so no result can look like both.
enum class Mark : std::uint8_t { kFirst, kSecond };

void put_mark(void* data, std::uint64_t bytes, Mark mark);
[[nodiscard]] bool has_mark(const void* data, std::uint64_t bytes, Mark mark);

}  // namespace servoir::openvino
