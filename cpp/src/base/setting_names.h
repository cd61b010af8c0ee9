// What users call the limits that error messages name. They are parameters and functions of the Python package, which
// the C++ parts know nothing else of.
#pragma once

namespace servoir {

inline constexpr const char* kMessageLimitName = "max_msg_mb_size";
inline constexpr const char* kRequestLimitName = "set_max_enqueued_requests";

}  // namespace servoir
