// Reads each message whole and in pieces of many sizes: the outcome must be the same.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "seed/predict_messages.h"

namespace servoir::seed::messages {

class PredictReader : public ::testing::Test {
 protected:
  // The request's text, or the error of the contiguous reader; the stream must agree.
  std::string read(const std::string& message, std::vector<std::size_t> sizes = {}) {
    const auto whole = read_whole(&world, message);
    const std::string expected = result_text(whole);
    if (sizes.empty()) sizes = {1, 2, 3, 5, 7, 13, 64, 4096, message.size() + 1};
    for (const std::size_t size : sizes) {
      const auto streamed = read_stream(&world, message, {size});
      EXPECT_EQ(streamed.ok(), whole.ok()) << "pieces of " << size << ": " << result_text(streamed).substr(0, 200)
                                           << "\nwhole: " << expected.substr(0, 200);
      if (whole.ok() && streamed.ok()) {
        EXPECT_TRUE(result_text(streamed) == expected) << "pieces of " << size;
      }
    }
    return expected;
  }
  // The error of a request whose only instance has this tensor as x.
  std::string tensor_error(const std::string& value) {
    const std::string text = read(request(spec("echo"), {instance({{"x", value}})}));
    EXPECT_EQ(text.substr(0, 3), "3: ") << text;
    EXPECT_NE(text.find("instance 0, input 'x'"), std::string::npos) << text;
    return text;
  }
  std::string accept(const std::string& value) { return read(request(spec("echo"), {instance({{"x", value}})})); }

  ProtocolWorld world;
};

}  // namespace servoir::seed::messages
