#pragma once
// HttpClient: requests to servers by HTTP and HTTPS. Proxies are those of the environment (https_proxy, http_proxy, all_proxy, no_proxy);
// certificates the system's, or those of SSL_CERT_FILE.

#include <atomic>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wan/error.h"

namespace wan {

/// What the servers of one origin (scheme, host and port) know the user by. It goes nowhere else, whatever redirects and links of
/// their answers say.
struct HttpCredentials {
  std::string origin;  // any address there
  std::string bearer;  // a token or key, for "Authorization: Bearer"; empty for none
};

struct HttpLimits {
  double connect_seconds = 20;
  double stall_seconds = 60;  // without a byte in either direction, from the moment of the request
  double total_seconds = 0;   // 0: no limit
  std::size_t most_body_bytes = std::size_t{64} << 20;  // of an answer that goes to no sink
};

struct HttpRequest {
  std::string url;
  /// Sent to every host of a chain of redirects: no secrets.
  std::vector<std::pair<std::string, std::string>> headers = {};
  HttpCredentials credentials = {};
  HttpLimits limits = {};
  const std::atomic<bool>* cancelled =
      nullptr;  // set by another thread or a signal: Cancelled within a second
};

struct HttpResponse {
  int status = 0;
  std::string url;                             // that answered, after redirects
  std::map<std::string, std::string> headers;  // names in lower case; of several with a name the last
  std::optional<double> retry_after;           // seconds, where the server says when to come again
  std::string body;  // empty where a sink took it; of an error (300 and up) at most 64 KB

  bool ok() const { return status >= 200 && status < 300; }
  /// Empty where there is none. `name` in lower case.
  std::string header(const std::string& name) const;
};

/// Takes the body of a successful answer (200 to 299) piece by piece. What it throws ends the transfer and is thrown on.
class HttpSink {
 public:
  virtual ~HttpSink() = default;
  /// Before the first piece, also of an empty body; `head` is without it.
  virtual void begin(const HttpResponse& head) = 0;
  virtual void write(std::span<const std::byte> piece) = 0;
};

/// No whole answer: an Io error with its reason and remedy.
class TransferError : public Error {
 public:
  TransferError(const std::string& message, bool may_pass)
      : Error(ErrorCode::kIo, message), may_pass_(may_pass) {}
  /// Whether to try again is worth it: a connection that broke, but not a certificate that is not trusted.
  bool may_pass() const { return may_pass_; }

 private:
  bool may_pass_;
};

/// Keeps its connections for the next request. A client is one thread's at a time.
class HttpClient {
 public:
  /// Throws Unsupported where the build has no libcurl or the machine none.
  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Whatever status the server answers with, redirects followed, ten at most and never from https to http. A body that was compressed
  /// for the way is given as it was before. Throws InvalidArgument for an address that is none, TransferError where no whole answer
  /// came (or one whose body is too large), Cancelled, and what the sink throws.
  HttpResponse get(const HttpRequest& request, HttpSink* sink = nullptr);
  /// As get(), with a JSON document; redirects are not followed, but errors that name the address to use.
  HttpResponse post_json(const HttpRequest& request, std::string_view json);

 private:
  struct Transfer;
  void perform(const HttpRequest& request, Transfer& transfer);

  struct Handle;
  std::unique_ptr<Handle> handle_;
};

}  // namespace wan
