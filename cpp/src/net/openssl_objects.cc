#include "net/openssl_objects.h"

#include <openssl/err.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>

namespace servoir {
namespace {

int descriptor(BIO* bio) { return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio))); }

bool is_temporary(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

int socket_read(BIO* bio, char* data, std::size_t size, std::size_t* moved) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = ::recv(descriptor(bio), data, size, MSG_DONTWAIT);
  *moved = n > 0 ? static_cast<std::size_t>(n) : 0;
  if (n > 0) return 1;
  if (n == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  if (n < 0 && is_temporary(errno)) BIO_set_retry_read(bio);
  return 0;
}

int socket_write(BIO* bio, const char* data, std::size_t size, std::size_t* moved) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = ::send(descriptor(bio), data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  *moved = n > 0 ? static_cast<std::size_t>(n) : 0;
  if (n > 0) return 1;
  if (n < 0 && is_temporary(errno)) BIO_set_retry_write(bio);
  return 0;
}

long socket_control(BIO* bio, int command, long /*number*/, void* /*pointer*/) {
  if (command == BIO_CTRL_FLUSH) return 1;  // nothing is held back
  if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
  return 0;
}

const BIO_METHOD* socket_method() {
  // Never freed: connections may outlive every static object.
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "servoir socket");
    if (made == nullptr) return made;
    BIO_meth_set_read_ex(made, socket_read);
    BIO_meth_set_write_ex(made, socket_write);
    BIO_meth_set_ctrl(made, socket_control);
    return made;
  }();
  return method;
}

}  // namespace

std::string take_tls_error() {
  const unsigned long code = ERR_peek_last_error();
  std::string text = "no reason given";
  if (const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code); reason != nullptr) text = reason;
  const int number = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
  if (number == SSL_R_HTTP_REQUEST || number == SSL_R_WRONG_VERSION_NUMBER) text += " (it speaks without TLS)";
  ERR_clear_error();
  return text;
}

BioPtr make_socket_bio(int fd) {
  BioPtr bio(BIO_new(socket_method()));
  if (bio == nullptr) return bio;
  BIO_set_data(bio.get(), reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));
  BIO_set_init(bio.get(), 1);
  return bio;
}

}  // namespace servoir
