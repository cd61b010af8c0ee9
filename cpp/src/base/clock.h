// The clock of deadlines, timers and delays.
#pragma once

#include <chrono>

namespace servoir {

using Clock = std::chrono::steady_clock;

}  // namespace servoir
