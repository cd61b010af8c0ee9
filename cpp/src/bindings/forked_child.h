// A child that a stage of the worker has forked. It is a process of the user's own: the rings, the arena and the
// control socket, of which it has copies, are the worker's. A child that leaves the stage ends, because a second
// process that answered the worker's batches would spoil them.
//
// Any thread may ask; end_forked_child() is for the thread that holds the interpreter lock.
#pragma once

#include <string_view>

namespace servoir::bindings {

// Called when a worker begins: the children that it forks from now on are known as such.
void know_forked_children();
[[nodiscard]] bool is_forked_child();
// Only in a child. Python's error, where one is set, decides the exit status as at the end of a script. `name` says
// whose code the child has come out of.
[[noreturn]] void end_forked_child(std::string_view name);

}  // namespace servoir::bindings
