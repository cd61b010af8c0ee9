// A server with a worker in a thread, without any Python: the yardstick for the path from socket to lane and back.
//
//   servoir_echo_server GRPC_ADDRESS [REST_ADDRESS [IO_THREADS]]
//
// Servable w1, method predict: y = x + 1; with SUM in the environment y = sum of x. Runs until its standard input ends,
// then prints its CPU time and counts.
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "adder.h"

namespace {

double seconds(const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; }

}  // namespace

int main(int argc, char** argv) {
  using namespace servoir;
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s GRPC_ADDRESS [REST_ADDRESS [IO_THREADS]]\n", argv[0]);
    return 2;
  }
  ServerOptions options;
  options.arena_limit = 2ULL << 30U;
  if (argc > 3) options.io_threads = static_cast<std::uint32_t>(std::atoi(argv[3]));
  auto server = Server::create(options);
  if (!server.ok()) {
    std::fprintf(stderr, "%s\n", std::string(server.status().message()).c_str());
    return 1;
  }
  const ServableId servable = (*server)->publish(adder_spec()).value();
  Adder adder(server->get(), servable);
  if (std::getenv("SUM") != nullptr) adder.sum_up();
  for (int i = 1; i < argc && i < 3; ++i) {
    const auto listener = (*server)->listen(argv[i], i == 1 ? Protocol::kGrpc : Protocol::kRest, 512U << 20U);
    if (!listener.ok()) {
      std::fprintf(stderr, "%s\n", std::string(listener.status().message()).c_str());
      return 1;
    }
    std::printf("listening on %s\n", (*server)->listener_address(*listener)->c_str());
  }
  std::fflush(stdout);
  char byte = 0;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const double cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  const double requests = (*server)->stats().total("servoir_requests");
  std::printf("requests %.0f  batches %llu  rows a batch %.1f  cpu %.2f s (user %.2f)  requests per CPU second %.0f\n",
              requests, static_cast<unsigned long long>(adder.batches()),
              static_cast<double>(adder.rows()) / static_cast<double>(std::max<std::uint64_t>(adder.batches(), 1)), cpu,
              seconds(usage.ru_utime), requests / cpu);
  return 0;
}
