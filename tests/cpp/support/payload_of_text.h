// A payload that is a text, for handlers of tests.
#pragma once

#include <string_view>

#include "memory/payload.h"

namespace servoir {

inline Payload payload(std::string_view text) {
  Payload made;
  made.append(text);
  return made;
}

}  // namespace servoir
