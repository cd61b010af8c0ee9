// What is wrong here, clang has to find: a guarded member is read without its mutex. Compiled by its test only.
#include "base/mutex.h"

namespace servoir {

struct Counted {
  [[nodiscard]] int read_unlocked() const { return number; }

  mutable Mutex mutex;
  int number SERVOIR_GUARDED_BY(mutex) = 0;
};

}  // namespace servoir
