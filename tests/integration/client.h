// A Client is a plain blocking TCP connection to the loopback: what a test says to a service, with
// nothing of the runtime in between.
//
// Patience: ten seconds for each read; then it is told as an end.
#ifndef PLIMSOLL_TESTS_INTEGRATION_CLIENT_H_
#define PLIMSOLL_TESTS_INTEGRATION_CLIENT_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace plimsoll::testing {

class Client {
 public:
  explicit Client(uint16_t port);
  ~Client();
  Client(Client&& other) noexcept;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connected() const { return fd_ >= 0; }
  bool Send(std::string_view bytes) const;
  void EndSending() const;
  // Until the service ends its side, resets, or says nothing for ten seconds.
  std::string ReadAll() const;
  // Until `text` was read, or an end.
  std::string ReadUntil(std::string_view text) const;

 private:
  int fd_ = -1;
};

// The answer to GET path on a connection of its own.
std::string Get(uint16_t port, std::string_view path);

}  // namespace plimsoll::testing

#endif  // PLIMSOLL_TESTS_INTEGRATION_CLIENT_H_
