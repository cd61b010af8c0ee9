// TlsContext: certificates and rules of a listener with TLS. Its streams are TLS 1.2 or newer on a connection's socket.
//
// The handshake runs inside the first reads and writes. A context may be used by any thread; a stream belongs to the
// I/O thread of its connection, does not own the descriptor, and keeps its context alive.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "net/byte_stream.h"

namespace servoir {

// A PEM file, already read.
struct PemFile {
  std::string path;  // for messages
  std::string text;
};

struct TlsSettings {
  PemFile certificate;  // the server's own, and those between it and the authority's
  PemFile private_key;
  bool verify_client = false;  // clients must show a certificate that an authority in custom_ca has signed
  PemFile custom_ca;           // read only with verify_client
};

class TlsContext {
 public:
  // `application_protocol`: what the server speaks, as ALPN names it ("h2", "http/1.1"). InvalidArgument says which
  // file is wrong and in what.
  static Result<std::shared_ptr<const TlsContext>> create(const TlsSettings& settings,
                                                          std::string_view application_protocol);
  virtual ~TlsContext() = default;
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  [[nodiscard]] virtual Result<std::unique_ptr<ByteStream>> make_stream(int fd) const = 0;

 protected:
  TlsContext() = default;
};

}  // namespace servoir
