#include "net/fd_watch.h"

#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <string>
#include <utility>

#include "base/log.h"

namespace servoir {

struct FdWatch::Impl {
  using Descriptor = boost::asio::posix::basic_stream_descriptor<boost::asio::io_context::executor_type>;
  Impl(boost::asio::io_context& context, int fd) : descriptor(context) {
    boost::system::error_code error;
    descriptor.assign(fd, error);
    if (error) SERVOIR_ERROR("cannot watch descriptor " + std::to_string(fd) + ": " + error.message());
  }
  Descriptor descriptor;
};

FdWatch::FdWatch(EventLoop* loop, WatchedFd fd)
    : fd_(std::move(fd)), impl_(std::make_unique<Impl>(loop->context(), fd_.get())) {}

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

void FdWatch::wait_hangup(std::shared_ptr<FdEvents> target) {
  if (!fd_.valid()) return;
  impl_->descriptor.async_wait(Impl::Descriptor::wait_error,
                               [target = std::move(target)](const boost::system::error_code& error) {
                                 if (!error) target->on_hangup();
                               });
}

void FdWatch::close() {
  if (!fd_.valid()) return;
  // release(), not close(): it takes the descriptor out of the epoll set explicitly, which closing alone does not do
  // where another process has a copy.
  if (impl_->descriptor.is_open()) impl_->descriptor.release();
  ::shutdown(fd_.get(), SHUT_RDWR);  // fails harmlessly on what is no socket
  fd_.close();
}

}  // namespace servoir
