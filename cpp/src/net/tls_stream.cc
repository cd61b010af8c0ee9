#include "net/tls_stream.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "base/log.h"
#include "net/openssl_objects.h"

namespace servoir {
namespace {

constexpr std::size_t kRecord = 16384;  // most plain bytes of a TLS record, RFC 8446 section 5.1
constexpr std::chrono::seconds kLogEvery{10};

// There is no one at a server to ask for a password.
int no_password(char* /*buffer*/, int /*size*/, int /*writing*/, void* asked) {
  *static_cast<bool*>(asked) = true;
  return 0;
}

Status wrong_file(const PemFile& file, std::string_view what, const std::string& why) {
  return Status::InvalidArgument("TLS: " + std::string(what) + " '" + file.path + "' " + why);
}

BioPtr text_bio(const PemFile& file) {
  return BioPtr(BIO_new_mem_buf(file.text.data(), static_cast<int>(file.text.size())));
}

Result<std::vector<CertificatePtr>> read_certificates(const PemFile& file, std::string_view what) {
  const BioPtr bio = text_bio(file);
  std::vector<CertificatePtr> certificates;
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    certificates.emplace_back(certificate);
  }
  const unsigned long code = ERR_peek_last_error();
  const bool at_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
  const std::string error = take_tls_error();
  if (!at_end) return wrong_file(file, what, "cannot be read as PEM: " + error);
  if (certificates.empty()) {
    return wrong_file(file, what, "has no certificate (no line '-----BEGIN CERTIFICATE-----'); it must be a PEM file");
  }
  return certificates;
}

Status use_identity(SSL_CTX* context, const TlsSettings& settings) {
  SERVOIR_ASSIGN_OR_RETURN(const std::vector<CertificatePtr> chain,
                           read_certificates(settings.certificate, "certificate"));
  if (SSL_CTX_use_certificate(context, chain.front().get()) != 1) {
    return wrong_file(settings.certificate, "certificate", "cannot be used: " + take_tls_error());
  }
  for (std::size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1) {
      return wrong_file(settings.certificate, "certificate", "has a chain that cannot be used: " + take_tls_error());
    }
  }
  bool password_asked = false;
  const KeyPtr key(
      PEM_read_bio_PrivateKey(text_bio(settings.private_key).get(), nullptr, no_password, &password_asked));
  if (key == nullptr) {
    const std::string error = take_tls_error();
    if (password_asked) {
      return wrong_file(settings.private_key, "private key",
                        "is protected by a password, which a server cannot ask for; store it without one");
    }
    return wrong_file(settings.private_key, "private key", "is not a private key in PEM (" + error + ")");
  }
  // Before it is used: using a key that does not fit would drop the certificate again.
  if (X509_check_private_key(chain.front().get(), key.get()) != 1) {
    ERR_clear_error();
    return wrong_file(settings.private_key, "private key",
                      "does not belong to certificate '" + settings.certificate.path + "'");
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return wrong_file(settings.private_key, "private key", "cannot be used: " + take_tls_error());
  }
  return Status::Ok();
}

Status require_client_certificates(SSL_CTX* context, const PemFile& authorities) {
  SERVOIR_ASSIGN_OR_RETURN(const std::vector<CertificatePtr> certificates, read_certificates(authorities, "custom_ca"));
  for (const CertificatePtr& certificate : certificates) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate.get()) != 1 ||
        SSL_CTX_add_client_CA(context, certificate.get()) != 1) {
      return wrong_file(authorities, "custom_ca", "cannot be used: " + take_tls_error());
    }
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return Status::Ok();
}

class Context;

class TlsStream final : public ByteStream {
 public:
  TlsStream(SslPtr ssl, int fd, std::shared_ptr<const Context> context)
      : ssl_(std::move(ssl)), fd_(fd), context_(std::move(context)) {}

  IoResult read(std::span<const iovec> pieces) override;
  IoResult write(std::span<const iovec> pieces) override;
  void end_output() override;
  [[nodiscard]] bool short_read_is_last() const override { return drained_; }
  // Part of a record may be there as well; it cannot be used before the rest has come.
  [[nodiscard]] bool has_input() const override { return over_ || (!drained_ && SSL_has_pending(ssl_.get()) == 1); }

 private:
  [[nodiscard]] IoResult not_moved(int returned, bool reading);
  [[nodiscard]] static std::span<const std::byte> next_record(std::span<const iovec> pieces, std::size_t used);

  const SslPtr ssl_;
  const int fd_;
  const std::shared_ptr<const Context> context_;
  bool drained_ = true;  // the last read took all there was
  bool over_ = false;    // the last read met the end, or a failure
  bool broken_ = false;
};

class Context final : public TlsContext, public std::enable_shared_from_this<Context> {
 public:
  Context(SslContextPtr context, std::string_view application_protocol)
      : context_(std::move(context)), protocol_(application_protocol) {
    SSL_CTX_set_alpn_select_cb(context_.get(), &Context::choose_protocol, this);
  }

  Result<std::unique_ptr<ByteStream>> make_stream(int fd) const override {
    SslPtr ssl(SSL_new(context_.get()));
    BioPtr bio = make_socket_bio(fd);
    if (ssl == nullptr || bio == nullptr) return Status::Internal("TLS: no stream could be made: " + take_tls_error());
    BIO* const both = bio.release();  // a BIO given for both directions is owned once
    SSL_set_bio(ssl.get(), both, both);
    SSL_set_accept_state(ssl.get());
    return std::unique_ptr<ByteStream>(std::make_unique<TlsStream>(std::move(ssl), fd, shared_from_this()));
  }

  // Hostile clients must not fill the disk.
  void log_failed_handshake(const std::string& why) const {
    const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
    auto last = last_log_.load(std::memory_order_relaxed);
    const auto pause = std::chrono::steady_clock::duration(kLogEvery).count();
    if ((last != 0 && now - last < pause) || !last_log_.compare_exchange_strong(last, now)) {
      log_count_left_out();
      return;
    }
    SERVOIR_WARNING("a client's TLS handshake failed: " + why);
  }

 private:
  // A client that names protocols (RFC 7301) and not ours would not understand us.
  static int choose_protocol(SSL* /*ssl*/, const unsigned char** chosen, unsigned char* chosen_size,
                             const unsigned char* offered, unsigned int offered_size, void* self) {
    const std::string_view ours = static_cast<const Context*>(self)->protocol_;
    // What speaks 1.1 speaks 1.0 as well, which some clients offer alone.
    const std::array<std::string_view, 2> wanted = {ours, ours == "http/1.1" ? "http/1.0" : ours};
    for (const std::string_view protocol : wanted) {
      for (unsigned int i = 0; i < offered_size; i += offered[i] + 1U) {
        if (offered[i] == protocol.size() && i + offered[i] < offered_size &&
            std::memcmp(offered + i + 1, protocol.data(), protocol.size()) == 0) {
          *chosen = offered + i + 1;
          *chosen_size = offered[i];
          return SSL_TLSEXT_ERR_OK;
        }
      }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }

  const SslContextPtr context_;
  const std::string protocol_;
  mutable std::atomic<std::chrono::steady_clock::rep> last_log_{0};
};

IoResult TlsStream::not_moved(int returned, bool reading) {
  const bool in_handshake = SSL_is_init_finished(ssl_.get()) == 0;
  switch (SSL_get_error(ssl_.get(), returned)) {
    case SSL_ERROR_WANT_READ:
      return {IoResult::State::kWouldBlock, 0, 0, !reading};
    case SSL_ERROR_WANT_WRITE:
      return {IoResult::State::kWouldBlock, 0, 0, reading};
    case SSL_ERROR_ZERO_RETURN:
      return {IoResult::State::kEnd, 0, 0};
    default:
      break;
  }
  broken_ = true;
  const int error = errno;
  if (in_handshake && ERR_peek_error() != 0) {
    context_->log_failed_handshake(take_tls_error());
  }
  ERR_clear_error();
  return {IoResult::State::kFailed, 0, error};
}

IoResult TlsStream::read(std::span<const iovec> pieces) {
  std::size_t total = 0;
  for (const iovec& piece : pieces) {
    std::size_t filled = 0;
    while (filled < piece.iov_len) {
      std::size_t got = 0;
      ERR_clear_error();
      errno = 0;
      const int returned =
          SSL_read_ex(ssl_.get(), static_cast<std::byte*>(piece.iov_base) + filled, piece.iov_len - filled, &got);
      if (returned == 1) {
        filled += got;
        total += got;
        continue;
      }
      const IoResult result = not_moved(returned, true);
      // A read that has to send first (the answer to a key update) keeps what has already been received for later.
      drained_ = result.state == IoResult::State::kWouldBlock && !result.other_way;
      over_ = result.state != IoResult::State::kWouldBlock;
      // What came before the end is returned first; the next read meets the end again.
      if (total > 0) return {IoResult::State::kOk, total, 0};
      return result;
    }
  }
  drained_ = false;
  return {IoResult::State::kOk, total, 0};
}

// A record that the socket did not take has to be offered again as it was, or with more after it: what is gathered
// from the same bytes later is never less, since output is only added at the end.
std::span<const std::byte> TlsStream::next_record(std::span<const iovec> pieces, std::size_t used) {
  // OpenSSL keeps what it has encrypted, so the plain bytes are needed for one call only.
  thread_local std::array<std::byte, kRecord> gathering;
  const auto* first = static_cast<const std::byte*>(pieces[0].iov_base) + used;
  const std::size_t size = pieces[0].iov_len - used;
  if (size >= kRecord || pieces.size() == 1) return {first, std::min(size, kRecord)};
  std::memcpy(gathering.data(), first, size);
  std::size_t gathered = size;
  for (const iovec& piece : pieces.subspan(1)) {
    const std::size_t part = std::min(piece.iov_len, kRecord - gathered);
    std::memcpy(gathering.data() + gathered, piece.iov_base, part);
    gathered += part;
    if (gathered == kRecord) break;
  }
  return {gathering.data(), gathered};
}

IoResult TlsStream::write(std::span<const iovec> pieces) {
  if (broken_) return {IoResult::State::kFailed, 0, EPIPE};
  std::size_t total = 0;
  std::size_t used = 0;  // of pieces[0]
  while (!pieces.empty()) {
    const std::span<const std::byte> record = next_record(pieces, used);
    std::size_t put = 0;
    ERR_clear_error();
    errno = 0;
    const int returned = SSL_write_ex(ssl_.get(), record.data(), record.size(), &put);
    if (returned != 1) {
      const IoResult result = not_moved(returned, false);
      if (total > 0) return {IoResult::State::kOk, total, 0};  // the next write meets the same again
      return result;
    }
    total += put;
    used += put;
    while (!pieces.empty() && used >= pieces[0].iov_len) {
      used -= pieces[0].iov_len;
      pieces = pieces.subspan(1);
    }
  }
  return {IoResult::State::kOk, total, 0};
}

void TlsStream::end_output() {
  if (!broken_ && SSL_is_init_finished(ssl_.get()) == 1) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());  // says "no more from here"; the peer's own word is not waited for
    ERR_clear_error();
  }
  ::shutdown(fd_, SHUT_WR);
}

}  // namespace

Result<std::shared_ptr<const TlsContext>> TlsContext::create(const TlsSettings& settings,
                                                             std::string_view application_protocol) {
  SslContextPtr context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr) return Status::Internal("TLS: OpenSSL cannot be used: " + take_tls_error());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  // The protocols above have their own ends of messages, so a connection cut off needs no alarm here.
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(context.get(), 1);  // several records with one system call
  SSL_CTX_set_default_read_buffer_len(context.get(), 4 * kRecord);
  static constexpr std::array<unsigned char, 7> kSessions = {'s', 'e', 'r', 'v', 'o', 'i', 'r'};
  SSL_CTX_set_session_id_context(context.get(), kSessions.data(), kSessions.size());
  SERVOIR_RETURN_IF_ERROR(use_identity(context.get(), settings));
  if (settings.verify_client) {
    SERVOIR_RETURN_IF_ERROR(require_client_certificates(context.get(), settings.custom_ca));
  }
  return std::shared_ptr<const TlsContext>(std::make_shared<Context>(std::move(context), application_protocol));
}

}  // namespace servoir
