#include "net/tls_stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "base/unique_fd.h"
#include "net/openssl_objects.h"

namespace servoir {
namespace {

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

// A key and a certificate that it has signed itself.
TlsSettings make_identity() {
  const KeyPtr key(EVP_EC_gen("P-256"));
  const CertificatePtr certificate(X509_new());
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  const BioPtr certificate_text(BIO_new(BIO_s_mem()));
  const BioPtr key_text(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(certificate_text.get(), certificate.get());
  PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  TlsSettings settings;
  settings.certificate = {"server.crt", text_of(certificate_text.get())};
  settings.private_key = {"server.key", text_of(key_text.get())};
  return settings;
}

const TlsSettings& identity() {
  static const TlsSettings settings = make_identity();
  return settings;
}

std::vector<std::byte> numbered(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
  return bytes;
}

iovec piece(std::vector<std::byte>* bytes, std::size_t from, std::size_t size) { return {bytes->data() + from, size}; }

// The server's stream on one end of a pair of sockets, OpenSSL's client on the other, both non-blocking.
class TlsStreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> pair{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.data()), 0);
    server_fd_.reset(pair[0]);
    client_fd_.reset(pair[1]);
    const int small = 4096;
    ::setsockopt(server_fd_.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    stream_ = TlsContext::create(identity(), "h2").value()->make_stream(server_fd_.get()).value();
    client_context_.reset(SSL_CTX_new(TLS_client_method()));
    client_.reset(SSL_new(client_context_.get()));
    BIO* bio = make_socket_bio(client_fd_.get()).release();
    SSL_set_bio(client_.get(), bio, bio);
    SSL_set_connect_state(client_.get());
  }

  // The client goes on with its handshake as far as it can.
  bool client_is_through() { return SSL_do_handshake(client_.get()) == 1; }

  void shake_hands() {
    for (int turn = 0; turn < 100; ++turn) {
      const bool through = client_is_through();
      const IoResult result = read(16);
      ASSERT_EQ(result.state, IoResult::State::kWouldBlock);
      if (through) return;
    }
    FAIL() << "the handshake does not end";
  }

  IoResult read(std::size_t size) {
    input_.resize(size);
    const iovec room = piece(&input_, 0, size);
    return stream_->read({&room, 1});
  }

  // What has come at the client.
  void take_at_client(std::vector<std::byte>* all) {
    std::array<std::byte, 3000> buffer;
    std::size_t got = 0;
    while (SSL_read_ex(client_.get(), buffer.data(), buffer.size(), &got) == 1) {
      all->insert(all->end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(got));
    }
  }

  void send_from_client(std::vector<std::byte> bytes) {
    std::size_t put = 0;
    ASSERT_EQ(SSL_write_ex(client_.get(), bytes.data(), bytes.size(), &put), 1);
    ASSERT_EQ(put, bytes.size());
  }

  UniqueFd server_fd_;
  UniqueFd client_fd_;
  std::unique_ptr<ByteStream> stream_;
  SslContextPtr client_context_;
  SslPtr client_;
  std::vector<std::byte> input_;
};

TEST_F(TlsStreamTest, AWriteBeforeTheHandshakeWaitsForInput) {
  std::vector<std::byte> bytes = numbered(10);
  const iovec out = piece(&bytes, 0, 10);
  const IoResult result = stream_->write({&out, 1});
  EXPECT_EQ(result.state, IoResult::State::kWouldBlock);
  EXPECT_TRUE(result.other_way);
}

TEST_F(TlsStreamTest, MovesBytesBothWays) {
  shake_hands();
  send_from_client(numbered(1000));
  const IoResult result = read(4096);
  ASSERT_EQ(result.state, IoResult::State::kOk);
  input_.resize(result.bytes);
  EXPECT_EQ(input_, numbered(1000));
  EXPECT_TRUE(stream_->short_read_is_last());
  EXPECT_FALSE(stream_->has_input());
}

TEST_F(TlsStreamTest, TellsOfInputThatTheSocketDoesNotHaveAnyMore) {
  shake_hands();
  send_from_client(numbered(1000));
  ASSERT_EQ(read(400).bytes, 400U);
  EXPECT_TRUE(stream_->has_input()) << "600 bytes are decrypted and wait";
  EXPECT_FALSE(stream_->short_read_is_last());
  ASSERT_EQ(read(4096).bytes, 600U);
  EXPECT_FALSE(stream_->has_input());
}

TEST_F(TlsStreamTest, HalfARecordIsNoInput) {
  shake_hands();
  // The client's record goes through here, so that it can be cut.
  const BioPtr cut(BIO_new(BIO_s_mem()));
  BIO* const memory = BIO_new(BIO_s_mem());
  BIO_up_ref(memory);
  SSL_set0_wbio(client_.get(), memory);
  const BioPtr held(memory);
  send_from_client(numbered(1000));
  const std::string record = text_of(memory);
  ASSERT_EQ(::send(client_fd_.get(), record.data(), 500, 0), 500);
  EXPECT_EQ(read(4096).state, IoResult::State::kWouldBlock);
  EXPECT_FALSE(stream_->has_input()) << "a turn of reading again and again would never end";
  ASSERT_GT(::send(client_fd_.get(), record.data() + 500, record.size() - 500, 0), 0);
  EXPECT_EQ(read(4096).bytes, 1000U);
}

TEST_F(TlsStreamTest, FillsOnePieceAfterTheOther) {
  shake_hands();
  const std::vector<std::byte> sent = numbered(40000);  // three records
  send_from_client(sent);
  std::vector<std::byte> room(40000);
  const std::array<iovec, 3> pieces = {piece(&room, 0, 7), piece(&room, 7, 20000), piece(&room, 20007, 19993)};
  EXPECT_EQ(stream_->read(pieces).bytes, sent.size());
  EXPECT_EQ(room, sent);
}

// As Connection does it: what was not taken is offered again, at another address and with more after it.
TEST_F(TlsStreamTest, OutputThatTheSocketTakesBitByBitArrivesWhole) {
  shake_hands();
  const std::vector<std::byte> all = numbered(300000);
  std::vector<std::byte> got;
  std::size_t taken = 0;
  std::size_t offered = 5000;
  int blocked = 0;
  while (taken < all.size()) {
    offered = std::min(offered + 3001, all.size());
    std::vector<std::byte> waiting(all.begin() + static_cast<std::ptrdiff_t>(taken),
                                   all.begin() + static_cast<std::ptrdiff_t>(std::max(offered, taken)));
    std::vector<iovec> pieces;
    for (std::size_t at = 0, size = 1; at < waiting.size(); at += size, size = size * 3 + 1) {
      size = std::min(size, waiting.size() - at);
      pieces.push_back(piece(&waiting, at, size));
    }
    if (pieces.empty()) continue;
    const IoResult result = stream_->write(pieces);
    if (result.state == IoResult::State::kWouldBlock) {
      EXPECT_FALSE(result.other_way);
      if (++blocked % 2 == 0) take_at_client(&got);  // sometimes nothing has changed when it tries again
      continue;
    }
    ASSERT_EQ(result.state, IoResult::State::kOk);
    taken += result.bytes;
  }
  take_at_client(&got);
  EXPECT_GT(blocked, 10);
  EXPECT_EQ(got, all);
}

TEST_F(TlsStreamTest, EndsAreToldAfterWhatCameBefore) {
  shake_hands();
  send_from_client(numbered(100));
  SSL_shutdown(client_.get());
  EXPECT_EQ(read(4096).bytes, 100U);
  EXPECT_TRUE(stream_->has_input());
  EXPECT_EQ(read(4096).state, IoResult::State::kEnd);
  // Our side may still send.
  std::vector<std::byte> bytes = numbered(10);
  const iovec out = piece(&bytes, 0, 10);
  EXPECT_EQ(stream_->write({&out, 1}).bytes, 10U);
  stream_->end_output();
  std::vector<std::byte> got;
  take_at_client(&got);
  EXPECT_EQ(got, bytes);
  EXPECT_EQ(SSL_get_shutdown(client_.get()) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
}

TEST_F(TlsStreamTest, AConnectionCutOffIsAnEnd) {
  shake_hands();
  std::vector<std::byte> nothing;
  take_at_client(&nothing);  // session tickets; a socket closed with unread input resets the connection
  client_fd_.reset();
  EXPECT_EQ(read(4096).state, IoResult::State::kEnd);
}

TEST_F(TlsStreamTest, AWriteToAPeerThatIsGoneFails) {
  shake_hands();
  client_fd_.reset();
  std::vector<std::byte> bytes = numbered(10);
  const iovec out = piece(&bytes, 0, 10);
  EXPECT_EQ(stream_->write({&out, 1}).state, IoResult::State::kFailed);  // and no SIGPIPE
  EXPECT_EQ(stream_->write({&out, 1}).state, IoResult::State::kFailed);
}

TEST_F(TlsStreamTest, GarbageInsteadOfAHandshakeFails) {
  const std::string garbage = "GET / HTTP/1.1\r\n\r\n";
  ASSERT_GT(::send(client_fd_.get(), garbage.data(), garbage.size(), 0), 0);
  EXPECT_EQ(read(4096).state, IoResult::State::kFailed);
  EXPECT_EQ(read(4096).state, IoResult::State::kFailed);
}

// RFC 8446, section 6.1: close_notify ends one side only.
TEST_F(TlsStreamTest, APeerThatHasSaidGoodbyeGetsItsAnswer) {
  shake_hands();
  EXPECT_EQ(SSL_shutdown(client_.get()), 0);
  EXPECT_EQ(read(4096).state, IoResult::State::kEnd);
  std::vector<std::byte> bytes = numbered(1000);
  const iovec out = piece(&bytes, 0, bytes.size());
  const IoResult result = stream_->write({&out, 1});
  EXPECT_EQ(result.state, IoResult::State::kOk);
  EXPECT_EQ(result.bytes, bytes.size());
  std::vector<std::byte> got;
  take_at_client(&got);
  EXPECT_EQ(got, bytes);
}

TEST_F(TlsStreamTest, AnHttp1ServerTakesClientsThatKnowHttp10Alone) {
  for (const auto& [ours, offered, chosen] :
       {std::tuple("http/1.1", "\x08http/1.0", "http/1.0"),
        std::tuple("http/1.1", "\x08http/1.0\x08http/1.1", "http/1.1"), std::tuple("h2", "\x08http/1.0", "")}) {
    SetUp();
    stream_ = TlsContext::create(identity(), ours).value()->make_stream(server_fd_.get()).value();
    SSL_set_alpn_protos(client_.get(), reinterpret_cast<const unsigned char*>(offered),
                        static_cast<unsigned int>(std::strlen(offered)));
    for (int turn = 0; turn < 10 && !client_is_through(); ++turn) (void)read(16);
    const unsigned char* protocol = nullptr;
    unsigned int bytes = 0;
    SSL_get0_alpn_selected(client_.get(), &protocol, &bytes);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(protocol), bytes), chosen);
  }
}

TEST_F(TlsStreamTest, ADamagedRecordFails) {
  shake_hands();
  std::string record(5 + 0x20, 'x');
  record.replace(0, 5, std::string("\x17\x03\x03\x00\x20", 5));
  ASSERT_GT(::send(client_fd_.get(), record.data(), record.size(), 0), 0);
  EXPECT_EQ(read(4096).state, IoResult::State::kFailed);
}

TEST(TlsContextTest, SaysWhichFileDoesNotFit) {
  TlsSettings settings = identity();
  settings.private_key = make_identity().private_key;
  const Status status = TlsContext::create(settings, "h2").status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(status.message(), "TLS: private key 'server.key' does not belong to certificate 'server.crt'");
}

}  // namespace
}  // namespace servoir
