// Doors: the listeners of a server, each with the I/O thread whose loop it belongs to.
//
// Its owner guards it with a mutex that no loop ever waits for: a function may wait for a loop.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/status.h"
#include "net/listener.h"
#include "server/io_thread.h"

namespace servoir {

class Doors {
 public:
  // A number that was not given before.
  std::uint32_t next_number() { return next_++; }
  void add(std::uint32_t number, IoThread* thread, std::unique_ptr<Listener> listener) {
    doors_.emplace(number, Door{thread, std::move(listener)});
  }
  [[nodiscard]] Result<std::string> address(std::uint32_t number) const {
    const auto found = doors_.find(number);
    if (found == doors_.end()) return Status::NotFound("there is no listener " + std::to_string(number));
    return found->second.listener->address().text();
  }

  // What waits to be accepted now is accepted.
  void accept_waiting() {
    for (auto& [number, door] : doors_) {
      door.thread->loop.run_and_wait([&listener = *door.listener] { listener.accept_waiting(); });
    }
  }
  // Nobody can connect any more.
  void close_all() {
    for (auto& [number, door] : doors_) {
      door.thread->loop.run_and_wait([&listener = *door.listener] { listener.close_door(); });
    }
  }
  // The port is free when it returns.
  [[nodiscard]] Status remove(std::uint32_t number) {
    const auto found = doors_.find(number);
    if (found == doors_.end()) return Status::NotFound("there is no listener " + std::to_string(number));
    remove(&found->second);
    doors_.erase(found);
    return Status::Ok();
  }
  void remove_all() {
    for (auto& [number, door] : doors_) remove(&door);
    doors_.clear();
  }

 private:
  struct Door {
    IoThread* thread = nullptr;
    std::unique_ptr<Listener> listener;
  };
  static void remove(Door* door) {
    door->thread->loop.run_and_wait([door] { door->listener.reset(); });
  }

  std::uint32_t next_ = 1;
  std::map<std::uint32_t, Door> doors_;
};

}  // namespace servoir
