#include "schedule/versions.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace servoir {
namespace {

void append(std::string* list, std::string_view item) {
  if (!list->empty()) *list += ", ";
  *list += item;
}

std::string label(std::string_view servable, std::uint64_t version) {
  return "servable " + quoted(servable) + ", version " + std::to_string(version);
}

bool is_available(const auto& numbered) { return numbered.second.state == VersionState::kAvailable; }

Result<std::shared_ptr<const Method>> find_method(const VersionTable::Version& version, std::string_view name) {
  std::string names;
  for (const std::shared_ptr<Method>& method : version.methods) {
    if (method->spec->name == name) return std::shared_ptr<const Method>(method);
    append(&names, quoted(method->spec->name));
  }
  return Status::NotFound(label(version.spec->name, version.spec->version) + " has no method " + quoted(name) +
                          "; its methods: " + names);
}

}  // namespace

Result<VersionTable::Version*> VersionTable::publish(ServableSpec spec) {
  SERVOIR_RETURN_IF_ERROR(check(spec));
  Version& version = by_name_[spec.name][spec.version];
  if (version.id != 0) {
    return Status::AlreadyExists("servable " + quoted(spec.name) + " version " + std::to_string(spec.version) +
                                 " is already there");
  }
  version.state = VersionState::kStarting;
  version.id = next_id_++;
  version.spec = std::make_shared<const ServableSpec>(std::move(spec));
  for (const MethodSpec& method : version.spec->methods) {
    version.methods.push_back(make_method(version.spec, &method, version.id, slabs_));
  }
  by_id_.emplace(version.id, &version);
  return &version;
}

void VersionTable::start(ServableId id) {
  Version* version = known(id);
  if (version == nullptr || version->state != VersionState::kStarting) return;
  version->state = VersionState::kAvailable;
  version->reason.clear();
}

void VersionTable::retire(ServableId id) {
  Version* version = known(id);
  if (version == nullptr) return;
  version->state = VersionState::kRetired;
  version->reason.clear();
}

void VersionTable::withdraw(ServableId id, std::string_view reason) {
  Version* version = known(id);
  if (version == nullptr) return;
  by_id_.erase(id);
  if (version->state == VersionState::kAvailable) version->reason = reason;
  if (!version->reason.empty()) {
    version->state = VersionState::kWithdrawn;
    version->id = 0;
    version->spec.reset();
    version->methods.clear();
    return;
  }
  const auto name = by_name_.find(version->spec->name);
  name->second.erase(version->spec->version);
  if (name->second.empty()) by_name_.erase(name);
}

VersionTable::Version* VersionTable::known(ServableId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

bool VersionTable::held(ServableId id) const {
  const Version* version = known(id);
  return version != nullptr &&
         std::any_of(version->methods.begin(), version->methods.end(), [](const auto& m) { return m.use_count() > 1; });
}

Result<std::shared_ptr<const Method>> VersionTable::find(std::string_view servable, std::uint64_t version,
                                                         std::string_view method) const {
  const auto versions = by_name_.find(servable);
  if (versions == by_name_.end()) return absent(servable, version);
  // In ascending order, so that the last match is the newest.
  const Version* found = nullptr;
  for (const auto& [number, candidate] : versions->second) {
    if (version != 0 && version != number) continue;
    if (candidate.state == VersionState::kAvailable) {
      found = &candidate;
    } else if (!candidate.reason.empty()) {
      found = nullptr;
    }
  }
  if (found != nullptr) return find_method(*found, method);
  return absent(servable, version);
}

Status VersionTable::absent(std::string_view servable, std::uint64_t version) const {
  std::string text = "servable " + quoted(servable);
  if (version != 0) text += ", version " + std::to_string(version);
  text += " is not available; ";
  const auto versions = by_name_.find(servable);
  if (versions != by_name_.end()) {
    std::string available;
    bool starting = false;
    bool retired = false;
    const std::pair<const std::uint64_t, Version>* withdrawn = nullptr;
    for (const auto& numbered : versions->second) {
      if (is_available(numbered)) append(&available, std::to_string(numbered.first));
      if (version != 0 && version != numbered.first) continue;
      starting = starting || numbered.second.state == VersionState::kStarting;
      retired = retired || numbered.second.state == VersionState::kRetired;
      if (!numbered.second.reason.empty()) withdrawn = &numbered;
    }
    if (withdrawn != nullptr) {
      return Status::Unavailable(label(servable, withdrawn->first) + " is not available: " + withdrawn->second.reason);
    }
    if (!available.empty()) return Status::NotFound(text + "running versions: " + available);
    if (starting) return Status::Unavailable(text + "its workers are starting");
    if (retired) return Status::Unavailable(text + "it is being ended");
  }
  const std::string names = available_servables();
  // A server that runs none has not come up yet: the name may well be right.
  if (names.empty()) return Status::Unavailable(text + "no servable is running yet");
  return Status::NotFound(text + "running servables: " + names);
}

std::string VersionTable::available_servables() const {
  std::string names;
  for (const auto& [name, versions] : by_name_) {
    if (std::any_of(versions.begin(), versions.end(), [](const auto& v) { return is_available(v); })) {
      append(&names, quoted(name));
    }
  }
  return names;
}

}  // namespace servoir
