#include "schedule/outbox.h"

#include <utility>

namespace servoir {

void Outbox::add(std::span<const std::byte> record) {
  const MutexLock lock(&adding_);
  added_.bytes.insert(added_.bytes.end(), record.begin(), record.end());
  added_.sizes.push_back(static_cast<std::uint32_t>(record.size()));
}

bool Outbox::post() {
  const MutexLock lock(&posting_);
  while (true) {
    for (; posted_ < taken_.sizes.size(); ++posted_) {
      const std::span<const std::byte> record = std::span(taken_.bytes).subspan(posted_bytes_, taken_.sizes[posted_]);
      if (port_ != nullptr && !port_->post(record)) return false;
      posted_bytes_ += record.size();
    }
    taken_.bytes.clear();
    taken_.sizes.clear();
    posted_ = posted_bytes_ = 0;
    const MutexLock adding(&adding_);
    if (added_.sizes.empty()) return true;
    std::swap(taken_, added_);
  }
}

void Outbox::close() {
  const MutexLock lock(&posting_);
  port_ = nullptr;
}

}  // namespace servoir
