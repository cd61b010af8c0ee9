#include "schedule/scheduler.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <unordered_map>

#include "base/mutex.h"
#include "schedule/version_scheduler.h"
#include "schedule/versions.h"

namespace servoir {
namespace {

// The number of a lane within its version is in the low bits of its AttachmentId, the version's in the others.
ServableId version_of(AttachmentId id) { return id >> kLaneBits; }
std::uint32_t lane_of(AttachmentId id) { return static_cast<std::uint32_t>(id); }

// Each change of what can be found gives a new number, over all schedulers of the process.
std::atomic<std::uint64_t> g_generation{1};

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

// What a thread remembers of a scheduler's versions, for as long as the generation stays.
struct Remembered {
  struct Found {
    std::uint64_t version;
    std::string method;
    // A method is held for requests only, so that its version can end.
    std::weak_ptr<const Method> result;
  };
  std::uint64_t generation = 0;
  std::unordered_map<std::string, std::vector<Found>, TextHash, std::equal_to<>> methods;  // by servable
  std::unordered_map<ServableId, std::shared_ptr<VersionScheduler>> versions;

  // Forgets all if the generation is another.
  void keep_for(std::uint64_t now) {
    if (generation == now) return;
    methods.clear();
    versions.clear();
    generation = now;
  }
};

thread_local Remembered t_remembered;
// Those that this thread is to pump; some are there several times.
thread_local std::vector<std::shared_ptr<VersionScheduler>> t_touched;

void touch(const std::shared_ptr<VersionScheduler>& version) {
  if (t_touched.empty() || t_touched.back() != version) t_touched.push_back(version);
}

}  // namespace

struct Scheduler::Impl {
  Impl(SlabPool* slabs, metrics::Registry* figures, Hooks hooks)
      : around(new Surroundings{slabs, figures, std::move(hooks), {}}), versions(slabs) {
    around->limit.set_memory(slabs->arena_limit());
  }

  void changed() SERVOIR_REQUIRES(mutex) {
    std::set<std::string_view> names;
    for (const auto& [id, version] : schedulers) names.insert(version->spec().name);
    around->limit.set_servables(names.size());
    generation = g_generation.fetch_add(1) + 1;
  }

  // Of a version that is published; or else nothing.
  std::shared_ptr<VersionScheduler> known(ServableId id) {
    t_remembered.keep_for(generation);
    const auto remembered = t_remembered.versions.find(id);
    if (remembered != t_remembered.versions.end()) return remembered->second;
    const MutexLock lock(&mutex);
    const auto found = schedulers.find(id);
    if (found == schedulers.end()) return nullptr;
    t_remembered.keep_for(generation);
    t_remembered.versions.emplace(id, found->second);
    return found->second;
  }

  const std::shared_ptr<Surroundings> around;
  std::atomic<std::uint64_t> generation{g_generation.fetch_add(1) + 1};  // changed under the mutex
  mutable Mutex mutex;
  VersionTable versions SERVOIR_GUARDED_BY(mutex);
  std::unordered_map<ServableId, std::shared_ptr<VersionScheduler>> schedulers SERVOIR_GUARDED_BY(mutex);
};

Scheduler::Scheduler(SlabPool* slabs, metrics::Registry* figures, Hooks hooks)
    : impl_(std::make_unique<Impl>(slabs, figures, std::move(hooks))) {}

Scheduler::~Scheduler() {
  std::unordered_map<ServableId, std::shared_ptr<VersionScheduler>> schedulers;
  {
    const MutexLock lock(&impl_->mutex);
    schedulers.swap(impl_->schedulers);
  }
  for (const auto& [id, version] : schedulers) version->abandon();
  impl_->around->hooks = {};
}

Result<ServableId> Scheduler::publish(ServableSpec spec) {
  const MutexLock lock(&impl_->mutex);
  SERVOIR_ASSIGN_OR_RETURN(VersionTable::Version* const version, impl_->versions.publish(std::move(spec)));
  std::shared_ptr<WaitingRequests> waiting;
  for (const auto& [id, other] : impl_->schedulers) {
    if (other->spec().name == version->spec->name) waiting = other->waiting();
  }
  if (waiting == nullptr) waiting = std::make_shared<WaitingRequests>();
  auto scheduler = std::make_shared<VersionScheduler>(impl_->around, version->id, version->spec, std::move(waiting));
  for (const std::shared_ptr<Method>& method : version->methods) method->scheduler = scheduler;
  impl_->schedulers.emplace(version->id, std::move(scheduler));
  impl_->changed();
  return version->id;
}

bool Scheduler::retire(ServableId id) {
  const MutexLock lock(&impl_->mutex);
  impl_->versions.retire(id);
  // Before it is asked: a thread that finds a method in what it remembers looks at the generation after it holds it.
  impl_->changed();
  return !impl_->versions.held(id);
}

void Scheduler::withdraw(ServableId id, std::string_view reason) {
  std::shared_ptr<VersionScheduler> gone;
  {
    const MutexLock lock(&impl_->mutex);
    const auto found = impl_->schedulers.find(id);
    if (found == impl_->schedulers.end()) return;
    gone = std::move(found->second);
    impl_->schedulers.erase(found);
    impl_->versions.withdraw(id, reason);
    impl_->changed();
  }
  gone->close(reason);
}

Result<AttachmentId> Scheduler::attach(ServableId id, LanePort* port, std::span<const std::uint32_t> callees,
                                       std::string name) {
  const std::shared_ptr<VersionScheduler> version = impl_->known(id);
  if (version == nullptr) return Status::NotFound("no servable has the number " + std::to_string(id));
  SERVOIR_ASSIGN_OR_RETURN(const std::uint32_t lane, version->attach(port, callees, std::move(name)));
  const MutexLock lock(&impl_->mutex);
  impl_->versions.start(id);
  impl_->changed();
  return id << kLaneBits | lane;
}

bool Scheduler::detach(AttachmentId id, std::string_view reason, bool by_itself) {
  const auto version = impl_->known(version_of(id));
  return version != nullptr && version->detach(lane_of(id), reason, by_itself);
}

bool Scheduler::drain(AttachmentId id) {
  const auto version = impl_->known(version_of(id));
  return version == nullptr || version->drain(lane_of(id));
}

Result<std::shared_ptr<const Method>> Scheduler::find(std::string_view servable, std::uint64_t version,
                                                      std::string_view method) const {
  using Found = Remembered::Found;
  t_remembered.keep_for(impl_->generation);
  if (const auto of = t_remembered.methods.find(servable); of != t_remembered.methods.end()) {
    for (const Found& found : of->second) {
      if (found.version != version || found.method != method) continue;
      std::shared_ptr<const Method> held = found.result.lock();
      if (held != nullptr && impl_->generation == t_remembered.generation) return held;
    }
  }
  const MutexLock lock(&impl_->mutex);
  SERVOIR_ASSIGN_OR_RETURN(std::shared_ptr<const Method> found, impl_->versions.find(servable, version, method));
  t_remembered.keep_for(impl_->generation);
  t_remembered.methods[std::string(servable)].push_back({version, std::string(method), found});
  return found;
}

void Scheduler::submit(std::shared_ptr<Request> request) {
  const std::shared_ptr<VersionScheduler>& version = request->method->scheduler;
  touch(version);
  version->submit(request);
}

void Scheduler::cancel(const std::shared_ptr<Request>& request, Status why) {
  request->method->scheduler->cancel(request, std::move(why));
}

void Scheduler::pump() {
  std::vector<std::shared_ptr<VersionScheduler>> touched;
  touched.swap(t_touched);
  if (touched.size() > 1) {
    std::sort(touched.begin(), touched.end());
    touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  }
  for (const std::shared_ptr<VersionScheduler>& version : touched) version->pump();
  touched.clear();
  if (t_touched.empty()) t_touched.swap(touched);  // for its memory
}

Status Scheduler::on_record(AttachmentId id, std::span<const std::byte> record) {
  const std::shared_ptr<VersionScheduler> version = impl_->known(version_of(id));
  if (version == nullptr) return Status::Ok();  // it was withdrawn meanwhile
  touch(version);
  return version->on_record(lane_of(id), record);
}

void Scheduler::tick(ServableId id, Clock::time_point now) {
  if (const std::shared_ptr<VersionScheduler> version = impl_->known(id)) version->tick(now);
}

void Scheduler::set_max_enqueued_requests(std::uint64_t limit) { impl_->around->limit.set(limit); }

}  // namespace servoir
