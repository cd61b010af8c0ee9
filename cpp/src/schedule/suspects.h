// Suspects: the instances of a callee with which a worker has died.
//
// A batch that a worker died with is run again in halves, down to the single instance, each part as a batch of its
// own that has a worker to itself, so that only the instance that ends workers gets the error. An instance is guilty
// when its worker ran nothing else and died by itself, or when it is the second worker that died with it. The content
// of such an instance is remembered for a while: when it comes again it costs no worker. It is used under its
// scheduler's lock only.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "request/graph.h"
#include "request/request.h"
#include "schedule/callee_queue.h"

namespace servoir {

class Suspects {
 public:
  struct Batch {
    std::vector<Span> spans;   // never empty
    std::uint32_t deaths = 0;  // workers that have died with all of it
  };

  explicit Suspects(const CalleeSpec* callee) : callee_(callee) {}

  [[nodiscard]] bool empty() const { return batches_.empty(); }
  // The batch that is to be run next. Only if not empty.
  [[nodiscard]] const Batch& front() const { return batches_.front(); }
  [[nodiscard]] Batch take();
  void put_back(Batch batch) { batches_.push_front(std::move(batch)); }
  // What a death says about an instance that was the only one of its batch.
  enum class Evidence : std::uint8_t {
    kNone,   // the worker ran other instances as well; only after many such deaths it is guilty all the same
    kSome,   // it ran nothing else, but may have been ended from outside
    kProof,  // and it died by itself
  };
  // A worker has died with the batch. Keeps what has to be run again; gives back an instance that is guilty, which is
  // remembered.
  [[nodiscard]] std::optional<Span> died(Batch batch, Evidence evidence, Clock::time_point now);
  // Removes the batches, and returns their requests.
  std::vector<std::shared_ptr<Request>> clear();

  // Whether any instance is remembered.
  [[nodiscard]] bool remembers(Clock::time_point now);
  // Whether an instance of the same content has ended workers.
  [[nodiscard]] bool is_deadly(const Request& request, std::uint32_t stage, std::uint32_t instance) const;

 private:
  struct Deadly {
    std::uint64_t bytes;
    std::uint64_t hash;
    Clock::time_point until;
  };

  const CalleeSpec* callee_;
  std::deque<Batch> batches_;
  std::deque<Deadly> deadly_;  // by `until`
};

}  // namespace servoir
