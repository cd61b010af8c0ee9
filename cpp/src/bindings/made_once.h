// made_once(): a value of Python that is made when it is first needed and kept for the life of the process.
//
// A function's static variable would be made under a lock of the language. To make the value may let another thread
// have the interpreter lock, and if that thread came for the same value, it would wait for the lock of the language
// while it holds the interpreter lock, which the first thread needs to finish: both would wait for ever. Here two
// threads may make the value; all get that of the first to finish.
//
// Any thread may call, with the interpreter lock held.
#pragma once

#include <atomic>
#include <memory>

namespace servoir::bindings {

template <typename T, typename Make>
T& made_once(std::atomic<T*>* place, const Make& make) {
  T* value = place->load(std::memory_order_acquire);
  if (value != nullptr) return *value;
  std::unique_ptr<T> made = make();
  if (place->compare_exchange_strong(value, made.get(), std::memory_order_acq_rel)) return *made.release();
  return *value;
}

}  // namespace servoir::bindings
