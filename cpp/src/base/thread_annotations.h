// What clang checks of mutexes (-Wthread-safety): which one guards a member, and which a function takes, gives back or
// must find taken. Other compilers see nothing of it. base/mutex.h has the mutex that these words work with.
#pragma once

#if defined(__clang__)
#define SERVOIR_THREAD_ATTRIBUTE(attribute) __attribute__((attribute))
#else
#define SERVOIR_THREAD_ATTRIBUTE(attribute)
#endif

// Of a class: its objects can be held, and are called by this name in warnings; or they hold such an object while they
// live.
#define SERVOIR_CAPABILITY(name) SERVOIR_THREAD_ATTRIBUTE(capability(name))
#define SERVOIR_SCOPED_CAPABILITY SERVOIR_THREAD_ATTRIBUTE(scoped_lockable)

// Of a member: it is read and written only while the mutex is held.
#define SERVOIR_GUARDED_BY(mutex) SERVOIR_THREAD_ATTRIBUTE(guarded_by(mutex))

// Of a function: its caller holds the mutex; or must not hold it, since the function takes it itself.
#define SERVOIR_REQUIRES(...) SERVOIR_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define SERVOIR_EXCLUDES(...) SERVOIR_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))

// Of a function that takes the mutex, gives it back, or is called where it is known to be held though no caller shows
// it.
#define SERVOIR_ACQUIRE(...) SERVOIR_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define SERVOIR_RELEASE(...) SERVOIR_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define SERVOIR_ASSERT_HELD(...) SERVOIR_THREAD_ATTRIBUTE(assert_capability(__VA_ARGS__))

// Of a function that is right in a way that the compiler cannot follow; a comment says why.
#define SERVOIR_NO_THREAD_SAFETY_ANALYSIS SERVOIR_THREAD_ATTRIBUTE(no_thread_safety_analysis)
