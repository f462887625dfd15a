#pragma once
// An HTTP server on 127.0.0.1 that answers each connection with the next text of its script, and keeps what it was asked.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace wan::test {

/// "HTTP/1.1 200 OK", with the body's length.
inline std::string http_answer(const std::string& status, const std::string& body,
                               const std::string& headers = "") {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\nConnection: close\r\n" + headers + "\r\n" + body;
}

class ScriptedServer {
 public:
  /// An empty answer: the connection stays open without a word until the server goes.
  explicit ScriptedServer(std::deque<std::string> answers) : answers_(std::move(answers)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* const where = reinterpret_cast<sockaddr*>(&address);
    WAN_ASSERT(listener_ >= 0 && ::bind(listener_, where, length) == 0 && ::listen(listener_, 8) == 0 &&
               ::getsockname(listener_, where, &length) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~ScriptedServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
    for (const int connection : silent_) ::close(connection);
  }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  std::string url(const std::string& path = "/") const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }
  /// The requests so far, as they came: head and body.
  std::vector<std::string> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  void serve() {
    for (;;) {
      const int connection = ::accept(listener_, nullptr, nullptr);
      if (connection < 0) return;
      std::string request;
      char piece[4096];
      while (!is_whole(request)) {
        const ssize_t count = ::recv(connection, piece, sizeof piece, 0);
        if (count <= 0) break;
        request.append(piece, static_cast<std::size_t>(count));
      }
      const std::lock_guard lock(mutex_);
      asked_.push_back(request);
      const std::string answer = answers_.empty() ? http_answer("500 None left", "") : answers_.front();
      if (!answers_.empty()) answers_.pop_front();
      ::send(connection, answer.data(), answer.size(), MSG_NOSIGNAL);
      if (answer.empty())
        silent_.push_back(connection);
      else
        ::close(connection);
    }
  }
  static bool is_whole(const std::string& request) {
    const std::size_t end = request.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    const std::size_t length = request.find("Content-Length: ");
    const std::size_t body = length < end ? std::strtoul(request.c_str() + length + 16, nullptr, 10) : 0;
    return request.size() >= end + 4 + body;
  }

  mutable std::mutex mutex_;
  std::deque<std::string> answers_;
  std::vector<std::string> asked_;
  std::vector<int> silent_;
  int listener_ = -1;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace wan::test
