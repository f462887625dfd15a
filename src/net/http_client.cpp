#include "net/http_client.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <type_traits>

#include "base/error.h"
#include "net/curl_library.h"
#include "net/url.h"

namespace wan {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMostRedirects = 10;
constexpr std::size_t kMostErrorBytes = std::size_t{64} << 10;

/// A connection that its other end has closed must not end the process; libcurl leaves that to the program, and a library changes no
/// handlers.
class BlockedPipeSignal {
 public:
  BlockedPipeSignal() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    was_pending_ = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~BlockedPipeSignal() {
    const timespec now{};
    if (!was_pending_) ::sigtimedwait(&pipe_, nullptr, &now);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  BlockedPipeSignal(const BlockedPipeSignal&) = delete;
  BlockedPipeSignal& operator=(const BlockedPipeSignal&) = delete;

 private:
  sigset_t pipe_{};
  sigset_t before_{};
  bool was_pending_ = false;
};

class HeaderList {
 public:
  HeaderList() = default;
  ~HeaderList() { curl_library().slist_free_all(list_); }
  HeaderList(const HeaderList&) = delete;
  HeaderList& operator=(const HeaderList&) = delete;

  /// Throws InvalidArgument for what would begin another line.
  void add(const std::string& name, const std::string& value) {
    const std::string line = value.empty() ? name + ":" : name + ": " + value;
    WAN_CHECK(
        std::ranges::none_of(line, [](char c) { return static_cast<unsigned char>(c) < 32 && c != '\t'; }),
        kInvalidArgument, "the value for the header {} has a line break or another control character in it",
        name);
    curl_slist* const longer = curl_library().slist_append(list_, line.c_str());
    WAN_CHECK(longer != nullptr, kOutOfMemory, "no memory for a request's headers");
    list_ = longer;
  }
  const curl_slist* get() const { return list_; }

 private:
  curl_slist* list_ = nullptr;
};

template <typename... Args>
[[noreturn]] void lose(bool may_pass, std::type_identity_t<MessageFormat<Args...>> format,
                       const Args&... args) {
  throw TransferError(format_message<Args...>(format, args...), may_pass);
}

std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

double seconds_since(Clock::time_point moment) {
  return std::chrono::duration<double>(Clock::now() - moment).count();
}

}  // namespace

std::string HttpResponse::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

/// One request and its answer, and what libcurl calls while it runs.
struct HttpClient::Transfer {
  const HttpRequest& request;
  HttpSink* sink = nullptr;
  const std::string* posted = nullptr;
  std::string url = {};
  HttpResponse answer = {};
  std::string redirect = {};  // absolute; empty where the answer is none
  bool begun = false;
  bool too_large = false;
  bool stalled = false;
  std::exception_ptr failure = nullptr;
  Clock::time_point last_byte = Clock::now();
  curl_off_t bytes = 0;
  const Curl& curl = curl_library();
  CURL* handle = nullptr;

  bool cancelled() const { return request.cancelled != nullptr && *request.cancelled; }

  void take_header(std::string_view line) {
    while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("HTTP/")) answer.headers.clear();  // 100 Continue came before
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return;
    std::string_view value = line.substr(colon + 1);
    while (value.starts_with(' ') || value.starts_with('\t')) value.remove_prefix(1);
    while (value.ends_with(' ') || value.ends_with('\t')) value.remove_suffix(1);
    answer.headers[lower_case(std::string(line.substr(0, colon)))] = value;
  }

  /// Fills in what is known once the headers are there.
  void begin() {
    if (begun) return;
    begun = true;
    long status = 0;
    curl.easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    answer.status = static_cast<int>(status);
    answer.url = url;
    curl_off_t wait = 0;
    if (curl.easy_getinfo(handle, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK && wait > 0)
      answer.retry_after = static_cast<double>(wait);
    if (answer.ok() && sink != nullptr) sink->begin(answer);
  }

  /// Whether the transfer goes on.
  bool take_body(std::span<const std::byte> piece) {
    try {
      begin();
      if (answer.ok() && sink != nullptr) {
        sink->write(piece);
        return true;
      }
      const std::size_t most = answer.ok() ? request.limits.most_body_bytes : kMostErrorBytes;
      const std::size_t taken = std::min(piece.size(), most - std::min(most, answer.body.size()));
      answer.body.append(reinterpret_cast<const char*>(piece.data()), taken);
      too_large = answer.ok() && taken < piece.size();
      return !too_large;
    } catch (...) {
      failure = std::current_exception();
      return false;
    }
  }

  bool goes_on(curl_off_t moved) {
    if (moved != bytes) {
      bytes = moved;
      last_byte = Clock::now();
    }
    stalled = seconds_since(last_byte) > request.limits.stall_seconds;
    return !stalled && !cancelled();
  }

  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* transfer) {
    static_cast<Transfer*>(transfer)->take_header({data, size * count});
    return size * count;
  }
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* transfer) {
    const std::span piece(reinterpret_cast<const std::byte*>(data), size * count);
    return static_cast<Transfer*>(transfer)->take_body(piece) ? piece.size() : piece.size() + 1;
  }
  static int on_progress(void* transfer, curl_off_t, curl_off_t down, curl_off_t, curl_off_t up) {
    return static_cast<Transfer*>(transfer)->goes_on(down + up) ? 0 : 1;
  }

  /// What a failed transfer is to a person. `detail` is libcurl's own text.
  [[noreturn]] void fail_with(CURLcode code, const std::string& detail) const {
    if (failure) std::rethrow_exception(failure);
    WAN_CHECK(!cancelled(), kCancelled, "stopped while speaking to {}", host_of(url));
    const std::string host = host_of(url);
    const std::string reason = detail.empty() ? curl.easy_strerror(code) : detail;
    if (too_large)
      lose(false, "{} sends more than {} bytes where a short answer was expected; check the address",
           shown_url(url), request.limits.most_body_bytes);
    if (stalled)
      lose(true, "{} has sent nothing for {:.0f} s; check the network, or try again later", host,
           request.limits.stall_seconds);
    switch (code) {
      case CURLE_COULDNT_RESOLVE_HOST:
        lose(true, "cannot find the host {}: check its spelling and this machine's network", host);
      case CURLE_COULDNT_RESOLVE_PROXY:
        lose(true, "cannot find the proxy ({}): check https_proxy, http_proxy and all_proxy", reason);
      case CURLE_COULDNT_CONNECT:
        lose(true, "cannot reach {} ({}): check the address, whether a server runs there, and proxies", host,
             reason);
      case CURLE_OPERATION_TIMEDOUT:
        lose(true, "{} does not answer in time ({}): check the network, or try again later", host, reason);
      case CURLE_PEER_FAILED_VERIFICATION:
      case CURLE_SSL_CACERT_BADFILE:
        lose(
            false,
            "the certificate of {} is not trusted ({}): install ca-certificates, set the clock, or name your "
            "organisation's certificates in SSL_CERT_FILE",
            host, reason);
      case CURLE_OUT_OF_MEMORY:
        fail(ErrorCode::kOutOfMemory, "no memory for a transfer from {}", host);
      default:
        lose(true, "the transfer from {} broke off ({}): check the network, or try again", host, reason);
    }
  }
};

struct HttpClient::Handle {
  const Curl& curl = curl_library();
  CURL* easy = curl.easy_init();
  Handle() { WAN_CHECK(easy != nullptr, kOutOfMemory, "no memory for a connection"); }
  ~Handle() { curl.easy_cleanup(easy); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  template <typename T>
  void set(CURLoption option, T value) {
    const CURLcode code = curl.easy_setopt(easy, option, value);
    WAN_CHECK(code == CURLE_OK, kUnsupported, "libcurl does not take option {} ({}); install a newer one",
              static_cast<int>(option), curl.easy_strerror(code));
  }
  void set_seconds(CURLoption option, double seconds) { set(option, static_cast<long>(seconds * 1000)); }
};

HttpClient::HttpClient() : handle_(std::make_unique<Handle>()) {}
HttpClient::~HttpClient() = default;

void HttpClient::perform(const HttpRequest& request, Transfer& transfer) {
  WAN_CHECK(!transfer.cancelled(), kCancelled, "stopped before speaking to {}", host_of(transfer.url));
  HeaderList headers;
  for (const auto& [name, value] : request.headers) headers.add(name, value);
  const std::string& bearer = request.credentials.bearer;
  if (!bearer.empty() && same_origin(transfer.url, request.credentials.origin))
    headers.add("Authorization", "Bearer " + bearer);
  Handle& handle = *handle_;
  handle.curl.easy_reset(handle.easy);
  if (transfer.posted != nullptr) {
    headers.add("Content-Type", "application/json");
    headers.add("Expect", "");  // no round trip before the body
    handle.set(CURLOPT_POST, 1L);
    handle.set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(transfer.posted->size()));
    handle.set(CURLOPT_POSTFIELDS, transfer.posted->c_str());
  }
  transfer.handle = handle.easy;
  char detail[CURL_ERROR_SIZE] = "";
  handle.set(CURLOPT_URL, transfer.url.c_str());
  handle.set(CURLOPT_HTTPHEADER, headers.get());
  handle.set(CURLOPT_USERAGENT, "wan.cpp");
  handle.set(CURLOPT_ACCEPT_ENCODING, "");  // whatever it can undo
  handle.set(CURLOPT_FOLLOWLOCATION, 0L);
  handle.set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  handle.set(CURLOPT_NOSIGNAL, 1L);
  handle.set_seconds(CURLOPT_CONNECTTIMEOUT_MS, request.limits.connect_seconds);
  handle.set_seconds(CURLOPT_TIMEOUT_MS, request.limits.total_seconds);
  handle.set(CURLOPT_ERRORBUFFER, detail);
  handle.set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  handle.set(CURLOPT_HEADERDATA, &transfer);
  handle.set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  handle.set(CURLOPT_WRITEDATA, &transfer);
  handle.set(CURLOPT_NOPROGRESS, 0L);
  handle.set(CURLOPT_XFERINFOFUNCTION, &Transfer::on_progress);
  handle.set(CURLOPT_XFERINFODATA, &transfer);
  if (const char* const certificates = std::getenv("SSL_CERT_FILE"); certificates != nullptr && *certificates)
    handle.set(CURLOPT_CAINFO, certificates);

  CURLcode code = CURLE_OK;
  {
    const BlockedPipeSignal blocked;
    code = handle.curl.easy_perform(handle.easy);
  }
  if (code != CURLE_OK) transfer.fail_with(code, detail);
  transfer.begin();
  const char* redirect = nullptr;
  handle.curl.easy_getinfo(handle.easy, CURLINFO_REDIRECT_URL, &redirect);
  transfer.redirect = redirect != nullptr ? redirect : "";
}

HttpResponse HttpClient::get(const HttpRequest& request, HttpSink* sink) {
  std::string url = request.url;
  check_url("the address", url);
  for (int redirects = 0; redirects <= kMostRedirects; ++redirects) {
    Transfer transfer{.request = request, .sink = sink, .url = url};
    perform(request, transfer);
    if (transfer.redirect.empty()) return std::move(transfer.answer);
    const bool was_private = url.starts_with("https:");
    url = transfer.redirect;
    check_url("the address that a server redirects to", url);
    if (was_private && !url.starts_with("https:"))
      lose(false, "{} redirects to {}, where others could read and change what is sent; ask its operator",
           host_of(transfer.url), shown_url(url));
  }
  lose(false, "{} redirects in a circle; check the address", shown_url(request.url));
}

HttpResponse HttpClient::post_json(const HttpRequest& request, std::string_view json) {
  check_url("the address", request.url);
  const std::string posted(json);
  Transfer transfer{.request = request, .posted = &posted, .url = request.url};
  perform(request, transfer);
  if (!transfer.redirect.empty())
    lose(false, "{} says that it is at {} now; use that address", shown_url(request.url),
         shown_url(transfer.redirect));
  return std::move(transfer.answer);
}

}  // namespace wan
