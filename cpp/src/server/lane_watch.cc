#include "server/lane_watch.h"

#include <optional>
#include <span>
#include <utility>

#include "base/log.h"

namespace servoir {
namespace {

constexpr int kRecordsInOneGo = 1024;  // after so many the connections get their turn

}  // namespace

LaneWatch::LaneWatch(service::AnswerRelay* relay, Scheduler* scheduler, std::shared_ptr<ServerLane> lane,
                     UniqueFd event, AttachmentId id, std::function<void(AttachmentId, std::string)> broken)
    : relay_(relay),
      scheduler_(scheduler),
      lane_(std::move(lane)),
      id_(id),
      broken_(std::move(broken)),
      watch_(relay->loop(), std::move(event)) {}

void LaneWatch::start() { on_readable(); }

void LaneWatch::finish() {
  if (!failed_) drain();
  close();
}

void LaneWatch::on_readable() {
  if (failed_) return;
  if (drain()) {
    watch_.wait_readable(shared_from_this());
  } else if (!failed_) {
    relay_->loop()->post([self = shared_from_this()] {
      if (self->watch_.fd() >= 0) self->on_readable();
    });
  }
}

bool LaneWatch::drain() {
  for (int i = 0; i < kRecordsInOneGo;) {
    const Result<std::optional<std::span<const std::byte>>> record = lane_->peek();
    if (!record.ok()) {
      fail(record.status());
      return false;
    }
    if (!record.value().has_value()) {
      if (lane_->arm()) return true;
      continue;
    }
    relay_->need_pump();
    const Status status = scheduler_->on_record(id_, *record.value());
    lane_->release();
    if (!status.ok()) {
      fail(status);
      return false;
    }
    ++i;
  }
  return false;
}

void LaneWatch::fail(const Status& why) {
  failed_ = true;
  std::string text = "broke the channel's protocol: " + std::string(why.message());
  SERVOIR_ERROR("a worker " + text);
  broken_(id_, "it " + text);
}

}  // namespace servoir
