#include "net/timer.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <utility>

namespace servoir {

struct Timer::Impl {
  Impl(boost::asio::io_context& context, std::function<void()> fn) : timer(context), on_time(std::move(fn)) {}
  boost::asio::basic_waitable_timer<Clock, boost::asio::wait_traits<Clock>, boost::asio::io_context::executor_type>
      timer;
  std::function<void()> on_time;
  std::uint64_t setting = 0;  // a wait that was replaced while its handler was on the way is told by an older number
};

Timer::Timer(EventLoop* loop, std::function<void()> on_time)
    : impl_(std::make_shared<Impl>(loop->context(), std::move(on_time))) {}

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

}  // namespace servoir
