// VersionTable: which versions of which servables are known, and which of them a request is given.
//
//   publish ──▶ kStarting ──start──▶ kAvailable ──retire──▶ kRetired
//                  ▲                     │                     │
//                  │                  withdraw              withdraw
//               publish                  ▼                     ▼
//                  └──── kWithdrawn ◀─(with a reason)      (forgotten)
//
// It knows nothing of queues and lanes. It is used under a lock of Scheduler only. The specs and methods that it gives
// out never change, and live as long as they are held.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "request/graph.h"

namespace servoir {

enum class VersionState : std::uint8_t {
  kStarting,   // published; none of its workers has been ready yet
  kAvailable,  // requests are given to it
  kRetired,    // it gets no new requests, and finishes those that it has
  kWithdrawn,  // it ran, and is gone for a reason that requests are told; nothing older takes its place
};

class VersionTable {
 public:
  struct Version {
    VersionState state = VersionState::kStarting;
    ServableId id = 0;
    std::shared_ptr<const ServableSpec> spec;
    std::vector<std::shared_ptr<Method>> methods;
    std::string reason;  // why it was withdrawn; kept until it is available again
  };

  // `slabs`: where the inputs of the methods are placed; see make_method().
  explicit VersionTable(SlabPool* slabs = nullptr) : slabs_(slabs) {}
  VersionTable(const VersionTable&) = delete;
  VersionTable& operator=(const VersionTable&) = delete;

  // Makes a version known. InvalidArgument if the spec does not pass check(), AlreadyExists if the version is known and
  // not withdrawn. The pointer is valid until withdraw().
  [[nodiscard]] Result<Version*> publish(ServableSpec spec);
  // The functions that take an id do nothing if it is not known.
  //
  // The first worker is ready. A retired version stays retired.
  void start(ServableId id);
  void retire(ServableId id);
  // Forgets the id. If there is a reason, a version that was available is remembered as withdrawn.
  void withdraw(ServableId id, std::string_view reason);

  // Whether a method of the version is held outside of this table: by a request that is being read, waits, runs, or is
  // being answered. Once a retired version is not held, it never is again.
  [[nodiscard]] bool held(ServableId id) const;

  // Finds a method; version 0 is the newest available version. NotFound or Unavailable says what there is.
  [[nodiscard]] Result<std::shared_ptr<const Method>> find(std::string_view servable, std::uint64_t version,
                                                           std::string_view method) const;

 private:
  using Versions = std::map<std::uint64_t, Version>;  // by number, ascending

  [[nodiscard]] Version* known(ServableId id) const;  // nullptr: it is not
  [[nodiscard]] Status absent(std::string_view servable, std::uint64_t version) const;
  [[nodiscard]] std::string available_servables() const;

  SlabPool* const slabs_;
  std::map<std::string, Versions, std::less<>> by_name_;  // no entry without a version
  std::unordered_map<ServableId, Version*> by_id_;        // those not withdrawn
  ServableId next_id_ = 1;
};

}  // namespace servoir
