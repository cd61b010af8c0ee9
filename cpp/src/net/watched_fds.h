// The descriptors that event loops of this process watch: listening sockets, connections, wake-ups.
//
// A forked child has copies of them and no use for any: a copy of a listening socket keeps the port taken when the
// server has ended, and a copy of a connection keeps its end from the client. So each child of fork() closes its copies
// before anything else of it runs, and forgets the list. Any thread may call; no fork happens during a call.
#pragma once

namespace servoir {

void add_watched_fd(int fd);
// Takes it from the list and closes it.
void close_watched_fd(int fd);

}  // namespace servoir
