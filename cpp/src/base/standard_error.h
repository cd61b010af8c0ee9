// StandardError: writes records to standard error without waiting for its reader. A pipe that nobody reads fills up,
// and a thread that writes to it then would stand still.
//
// Belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace servoir {

class StandardError {
 public:
  // Does not own the descriptor.
  explicit StandardError(int fd) : fd_(fd) {}

  // A whole record with its line end. It is dropped when it cannot be written soon; before the next that can be, a line
  // says how many were dropped. Returns whether it was written.
  bool write(std::string_view record);

 private:
  [[nodiscard]] bool put(std::string_view text) const;
  [[nodiscard]] bool is_ready(int milliseconds) const;

  const int fd_;
  std::uint64_t dropped_ = 0;
};

// Writes a record that lacks its line end to standard error, as the log's own are. Any thread; it is in log.cc.
void log_write_stderr(std::string record);

}  // namespace servoir
