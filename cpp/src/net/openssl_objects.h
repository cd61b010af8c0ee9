// Owners of OpenSSL's objects, and what its error queue says. Any thread; the error queue is the calling thread's.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

namespace servoir {

template <auto Free>
struct FreeWith {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using BioPtr = std::unique_ptr<BIO, FreeWith<BIO_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, FreeWith<X509_free>>;
using SslPtr = std::unique_ptr<SSL, FreeWith<SSL_free>>;
using SslContextPtr = std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>>;

// The newest error's text; empties the queue.
[[nodiscard]] std::string take_tls_error();

// A BIO on a non-blocking socket, whose writes never raise SIGPIPE. Does not own the descriptor.
[[nodiscard]] BioPtr make_socket_bio(int fd);

}  // namespace servoir
