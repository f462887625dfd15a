#include "net/url.h"

#include <memory>
#include <optional>

#include "base/error.h"
#include "net/curl_library.h"

namespace wan {

namespace {

class Url {
 public:
  /// Nothing where `text` is no address.
  static std::optional<Url> read(const std::string& text) {
    Url url;
    const Curl& curl = curl_library();
    if (text.find('\0') != std::string::npos) return std::nullopt;
    if (url.handle_ == nullptr ||
        curl.url_set(url.handle_.get(), CURLUPART_URL, text.c_str(), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
      return std::nullopt;
    return url;
  }

  std::string part(CURLUPart which, unsigned flags = 0) const {
    const Curl& curl = curl_library();
    char* text = nullptr;
    if (curl.url_get(handle_.get(), which, &text, flags) != CURLUE_OK || text == nullptr) return {};
    const std::unique_ptr<char, void (*)(void*)> owner(text, curl.free);
    return text;
  }

  std::string host() const {
    std::string host = part(CURLUPART_HOST);
    for (char& c : host)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return host;
  }

 private:
  Url() : handle_(curl_library().url(), curl_library().url_cleanup) {}
  std::unique_ptr<CURLU, void (*)(CURLU*)> handle_;
};

}  // namespace

bool same_origin(const std::string& a, const std::string& b) {
  const std::optional<Url> first = Url::read(a);
  const std::optional<Url> second = Url::read(b);
  return first && second && first->part(CURLUPART_SCHEME) == second->part(CURLUPART_SCHEME) &&
         first->host() == second->host() &&
         first->part(CURLUPART_PORT, CURLU_DEFAULT_PORT) == second->part(CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

std::string shown_url(const std::string& url) {
  const std::optional<Url> read = Url::read(url);
  if (!read) return "a malformed address";
  const std::string port = read->part(CURLUPART_PORT);
  return read->part(CURLUPART_SCHEME) + "://" + read->host() + (port.empty() ? "" : ":" + port) +
         read->part(CURLUPART_PATH);
}

std::string host_of(const std::string& url) {
  const std::optional<Url> read = Url::read(url);
  return read ? read->host() : "a malformed address";
}

void check_url(const char* what, const std::string& url) {
  const std::optional<Url> read = Url::read(url);
  const std::string scheme = read ? read->part(CURLUPART_SCHEME) : "";
  WAN_CHECK(read && (scheme == "http" || scheme == "https") && !read->host().empty(), kInvalidArgument,
            "{}: expected an address such as https://example.org/v1", what);
  WAN_CHECK(read->part(CURLUPART_USER).empty() && read->part(CURLUPART_PASSWORD).empty(), kInvalidArgument,
            "{} holds a name or password, which may end in logs; give the address without it", what);
}

bool is_open_to_others(const std::string& url) {
  const std::optional<Url> read = Url::read(url);
  if (!read || read->part(CURLUPART_SCHEME) != "http") return false;
  const std::string host = read->host();
  return host != "localhost" && host != "[::1]" && !host.starts_with("127.");
}

std::string url_encoded(std::string_view text, std::string_view kept) {
  constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string encoded;
  for (const char c : text) {
    if (kPlain.find(c) != std::string_view::npos || kept.find(c) != std::string_view::npos)
      encoded += c;
    else
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return encoded;
}

}  // namespace wan
