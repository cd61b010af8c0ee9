// The texts that go with HTTP's status codes (RFC 9110, section 15), and the date of an answer.
#pragma once

#include <string_view>

namespace servoir::http {

// A code without a text of its own gets that of its class.
[[nodiscard]] std::string_view reason_phrase(int status);

// The time now, as RFC 9110, section 5.6.7 writes it. Valid until the thread's next call.
[[nodiscard]] std::string_view date_now();

}  // namespace servoir::http
