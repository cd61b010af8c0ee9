// Libraries for library_search_test.cc and library_trial_test.cc: each does at load what FAKE_FAULT says.
//
//   FAKE_FAULT     0 nothing, 1 abort, 2 crash, 3 exit(3), 4 hang, 5 hang with a child, which has the pipes open, too,
//                  6 prints and exits, 7 needs a function that nobody has
//   FAKE_VERSION   of libthing_part.so, which libthing.so hands on
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#if defined(FAKE_VERSION)
extern "C" int thing_part_version() { return FAKE_VERSION; }
#elif defined(FAKE_WHOLE)
extern "C" int thing_part_version();
extern "C" int thing_version() { return thing_part_version(); }
#else

#if FAKE_FAULT == 7
extern "C" int function_that_nobody_has();
#endif

extern "C" int thing_version() {
#if FAKE_FAULT == 7
  return function_that_nobody_has();
#else
  return FAKE_FAULT;
#endif
}

namespace {

[[gnu::constructor]] void at_load() {
  if (FAKE_FAULT == 1) {
    std::fputs("thing: the tables\nare not in order\n", stderr);
    std::abort();
  }
  if (FAKE_FAULT == 2) ::raise(SIGSEGV);
  if (FAKE_FAULT == 3) std::exit(3);
  if (FAKE_FAULT == 4 || FAKE_FAULT == 5) {
    if (FAKE_FAULT == 5) (void)::fork();
    while (true) ::pause();
  }
  if (FAKE_FAULT == 6) {
    for (int line = 0; line < 100000; ++line) std::fputs("thing: one more line of what nobody reads\n", stderr);
    ::_exit(0);
  }
}

}  // namespace
#endif
