#include "net/io_thread.h"

#include <pthread.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <thread>

#include "base/log.h"
#include "net/connection.h"

namespace servoir {
namespace {

thread_local const IoThread* current_loop = nullptr;

}  // namespace

struct IoThread::Loop {
  boost::asio::io_context context{1};  // one thread runs it
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard{context.get_executor()};
  std::thread thread;
  std::atomic<bool> stopped{false};
};

// ---- FdWatch

struct FdWatch::Impl {
  using Descriptor = boost::asio::posix::basic_stream_descriptor<boost::asio::io_context::executor_type>;
  Impl(boost::asio::io_context& context, int fd) : descriptor(context) {
    boost::system::error_code error;
    descriptor.assign(fd, error);
    if (error) SERVOIR_ERROR("cannot watch descriptor " + std::to_string(fd) + ": " + error.message());
  }
  Descriptor descriptor;
};

FdWatch::FdWatch(IoThread* thread, UniqueFd fd)
    : fd_(std::move(fd)), impl_(std::make_unique<Impl>(thread->loop_->context, fd_.get())) {}

FdWatch::~FdWatch() { close(); }

void FdWatch::wait_readable(std::shared_ptr<FdEvents> target) {
  if (!fd_.valid()) return;
  impl_->descriptor.async_wait(Impl::Descriptor::wait_read,
                               [target = std::move(target)](const boost::system::error_code& error) {
                                 if (!error) target->on_readable();
                               });
}

void FdWatch::wait_writable(std::shared_ptr<FdEvents> target) {
  if (!fd_.valid()) return;
  impl_->descriptor.async_wait(Impl::Descriptor::wait_write,
                               [target = std::move(target)](const boost::system::error_code& error) {
                                 if (!error) target->on_writable();
                               });
}

void FdWatch::close() {
  if (!fd_.valid()) return;
  // release(), not close(): it takes the descriptor out of the epoll set explicitly, which closing alone does not do
  // where a forked child has a copy.
  if (impl_->descriptor.is_open()) impl_->descriptor.release();
  ::shutdown(fd_.get(), SHUT_RDWR);  // fails harmlessly on what is no socket
  fd_.reset();
}

// ---- Timer

struct Timer::Impl {
  Impl(boost::asio::io_context& context, std::function<void()> fn) : timer(context), on_time(std::move(fn)) {}
  boost::asio::basic_waitable_timer<Clock, boost::asio::wait_traits<Clock>, boost::asio::io_context::executor_type>
      timer;
  std::function<void()> on_time;
  std::uint64_t setting = 0;  // a wait that was replaced while its handler was on the way is told by an older number
};

Timer::Timer(IoThread* thread, std::function<void()> on_time)
    : impl_(std::make_shared<Impl>(thread->loop_->context, std::move(on_time))) {}

Timer::~Timer() { cancel(); }

void Timer::set(Clock::time_point when) {
  impl_->timer.expires_at(when);
  const std::uint64_t setting = ++impl_->setting;
  impl_->timer.async_wait([impl = impl_, setting](const boost::system::error_code& error) {
    if (!error && setting == impl->setting) impl->on_time();
  });
}

void Timer::cancel() {
  ++impl_->setting;
  impl_->timer.cancel();
}

// ---- IoThread

IoThread::IoThread(IoThreadOptions options)
    : options_(std::move(options)),
      loop_(std::make_unique<Loop>()),
      receive_buffer_(std::make_unique_for_overwrite<std::byte[]>(options_.receive_buffer)),
      sweep_timer_(std::make_unique<Timer>(this, [this] { sweep(); })) {}

IoThread::~IoThread() { stop(); }

void IoThread::start() {
  loop_->thread = std::thread([this] {
    pthread_setname_np(pthread_self(), "servoir-io");
    current_loop = this;
    loop_->context.run();
    current_loop = nullptr;
  });
}

void IoThread::stop() {
  if (loop_->stopped.load()) return;
  call([this] { close_connections([](const Connection&) { return true; }); });
  loop_->stopped.store(true);
  loop_->context.stop();
  if (loop_->thread.joinable()) loop_->thread.join();
  // The loop is still now. What was on its way to it is dropped here, while the connections' answers have nobody left.
  sweep_timer_->cancel();
  to_flush_.clear();
  take_answers();
  connections_.clear();
}

void IoThread::post(std::function<void()> work) { boost::asio::post(loop_->context, std::move(work)); }

void IoThread::call(const std::function<void()>& work) {
  if (here() || loop_->stopped.load() || !loop_->thread.joinable()) {
    work();
    return;
  }
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  post([&] {
    work();
    const std::lock_guard lock(mutex);
    done = true;
    changed.notify_one();
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return done; });
}

bool IoThread::here() const { return current_loop == this; }

void IoThread::deliver(AnswerTarget* target, std::shared_ptr<Request> request) {
  if (here()) {
    target->on_answer(std::move(request));
    return;
  }
  bool first = false;
  {
    const std::lock_guard lock(answers_mutex_);
    first = answers_.empty();
    answers_.emplace_back(target, std::move(request));
  }
  if (first) post([this] { take_answers(); });
}

void IoThread::take_answers() {
  {
    const std::lock_guard lock(answers_mutex_);
    taken_.swap(answers_);
  }
  for (auto& [target, request] : taken_) target->on_answer(std::move(request));
  taken_.clear();
}

void IoThread::schedule_turn_end() {
  if (turn_end_scheduled_) return;
  turn_end_scheduled_ = true;
  // Runs behind all that is ready now: that is the end of the turn.
  boost::asio::post(loop_->context, [this] { end_turn(); });
}

void IoThread::need_pump() {
  pump_needed_ = true;
  schedule_turn_end();
}

void IoThread::need_flush(std::shared_ptr<Connection> connection) {
  to_flush_.push_back(std::move(connection));
  schedule_turn_end();
}

void IoThread::end_turn() {
  // The worker is set going before the answers are written, so that both go on at the same time. A pump may answer
  // requests, and a flush may take in more, so this goes round until both are done.
  while (pump_needed_ || !to_flush_.empty()) {
    if (pump_needed_) {
      pump_needed_ = false;
      if (options_.pump) options_.pump();
    }
    flushing_.swap(to_flush_);
    for (const std::shared_ptr<Connection>& connection : flushing_) connection->flush();
    flushing_.clear();
  }
  turn_end_scheduled_ = false;
}

void IoThread::enlist(std::shared_ptr<Connection> connection) {
  connections_.insert(std::move(connection));
  connection_count_.store(connections_.size(), std::memory_order_relaxed);
  if (connections_.size() == 1) sweep_timer_->set(Clock::now() + options_.sweep);
}

void IoThread::dismiss(Connection* connection) {
  connections_.erase(connection->shared_from_this());
  connection_count_.store(connections_.size(), std::memory_order_relaxed);
  if (connections_.empty()) sweep_timer_->cancel();
}

void IoThread::close_connections(const std::function<bool(const Connection&)>& which) {
  std::vector<std::shared_ptr<Connection>> picked;
  for (const auto& connection : connections_) {
    if (which(*connection)) picked.push_back(connection);
  }
  for (const auto& connection : picked) connection->shut_down();
}

void IoThread::sweep() {
  ++sweeps_;
  const std::vector<std::shared_ptr<Connection>> all(connections_.begin(), connections_.end());
  for (const auto& connection : all) connection->sweep();
  if (!connections_.empty()) sweep_timer_->set(Clock::now() + options_.sweep);
}

}  // namespace servoir
