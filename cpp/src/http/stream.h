// Stream: one stream of an HTTP/2 session, that is one request and its answer. StreamHost: what it asks of the session.
//
// The session owns its streams and reuses one for a later request once it is idle. It has checked the sizes of headers
// and knows the flow control; only the stream knows what the bytes mean. Everything here runs in the thread of the
// connection's loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "memory/memory_budget.h"
#include "net/connection_set.h"
#include "net/output_queue.h"

namespace servoir::http {

class Stream;

// Bytes of a request's header, as HTTP/2 counts them, at most.
inline constexpr std::uint32_t kMaxStreamHeaderBytes = 16384;

// A header or trailer field. The texts must live until the call that takes the field returns, those of a constant field
// as long as the process.
struct Field {
  std::string_view name;
  std::string_view value;
  bool is_constant = false;  // both texts are constants of the program
  bool is_unique = false;    // the value will hardly come again, so it is of no use in the compression's table
};

class StreamHost {
 public:
  [[nodiscard]] virtual ConnectionSet* connections() const = 0;
  // See Connection::request_budget().
  [[nodiscard]] virtual MemoryBudget* request_budget() = 0;
  // Sends the answer's header; with `end`, that is the whole answer. Otherwise its body follows: see Stream::body_left.
  virtual void respond(Stream* stream, std::span<const Field> fields, bool end) = 0;
  // There is more of a body of which nothing was left, or it has ended.
  virtual void resume_body(Stream* stream) = 0;
  // Opens the client's window by so many bytes for which Stream::on_data() had said that it should wait.
  virtual void consume(Stream* stream, std::size_t bytes) = 0;
  // Ends the stream with an error code of RFC 9113, section 7.
  virtual void reset(Stream* stream, std::uint32_t error) = 0;
  // Whether the connection came when the server had begun to end.
  [[nodiscard]] virtual bool is_late() const = 0;
  // Memory that input may still be received into: it is kept until what has come was read.
  virtual void keep_until_read(std::shared_ptr<const void> memory) = 0;
  // The stream is in use beyond its end, until let_go(): it is not reused, and the session lives as long.
  virtual void hold(Stream* stream) = 0;
  virtual void let_go(Stream* stream) = 0;

 protected:
  ~StreamHost() = default;
};

class Stream {
 public:
  virtual ~Stream() = default;

  // A request has begun.
  virtual void on_open() = 0;
  virtual void on_field(std::string_view name, std::string_view value) = 0;
  // The header is complete. `too_large`: how many bytes it had, where these are too many (its fields after the limit
  // were not shown), else 0.
  virtual void on_header_end(std::size_t too_large) = 0;
  // Returns whether the client's window may be opened for as many bytes.
  [[nodiscard]] virtual bool on_data(std::span<const std::byte> data) = 0;
  // The client will send no more.
  virtual void on_half_close() = 0;
  // The stream is over, finished or not.
  virtual void on_close() = 0;
  // Looks at time-outs, every ConnectionTimeouts::sweep.
  virtual void on_sweep() = 0;
  // Ends the request with this status, whatever it is doing.
  virtual void abort(const Status& why) = 0;

  // Where the next DATA bytes will be copied to, if that is known: they may be received there.
  [[nodiscard]] virtual std::span<std::byte> next_destination() const = 0;

  // The answer's body: how many of its bytes are there, whether more will come, its next `bytes` bytes, and the fields
  // after it (at most kMostTrailers; returns how many).
  static constexpr std::size_t kMostTrailers = 8;
  [[nodiscard]] virtual std::size_t body_left() const = 0;
  [[nodiscard]] virtual bool body_is_complete() const = 0;
  virtual void send_body(std::size_t bytes, OutputQueue* out) = 0;
  virtual std::size_t trailers(std::span<Field> fields) = 0;

  // The session's record of the stream.
  struct Record {
    std::int32_t id = 0;        // of the HTTP/2 stream; 0: none
    std::int32_t follower = 0;  // the stream whose DATA followed the last of this one; 0: unknown
    std::size_t slot = 0;       // in the session's table
    std::uint32_t header_bytes = 0;
    std::uint32_t holds = 0;
    bool half_closed = false;  // the client has said that it will send no more
  };
  [[nodiscard]] const Record& record() const { return record_; }
  [[nodiscard]] bool is_open() const { return record_.id != 0; }

 private:
  friend class Http2Connection;
  Record record_;
};

// Makes the streams of a session.
class StreamFactory {
 public:
  virtual ~StreamFactory() = default;
  [[nodiscard]] virtual std::unique_ptr<Stream> make_stream(StreamHost* host) const = 0;
};

}  // namespace servoir::http
