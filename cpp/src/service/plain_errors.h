// PlainErrors: errors as a line of text, for routes that answer in text.
#pragma once

#include <string_view>

#include "http/exchange.h"
#include "protocol/http_status.h"

namespace servoir::service {

class PlainErrors final : public http::ErrorWriter {
 public:
  static constexpr std::string_view kContentType = "text/plain; charset=utf-8";

  int write(const Status& error, Payload* body) const override {
    body->append(error.message());
    body->append("\n");
    return http_status(error.code());
  }
  [[nodiscard]] std::string_view content_type() const override { return kContentType; }
};

}  // namespace servoir::service
