#include "download/hub.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "net/url.h"

namespace wan {

namespace {

std::string trimmed(std::string text) {
  constexpr const char* kSpace = " \t\r\n";
  text.erase(0, std::min(text.find_first_not_of(kSpace), text.size()));
  text.erase(text.find_last_not_of(kSpace) + 1);
  return text;
}

}  // namespace

HttpRequest Connection::request(const std::string& url) const {
  return {
      .url = url, .credentials = credentials, .limits = {.stall_seconds = timeout}, .cancelled = cancelled};
}

HttpResponse Connection::ask(const std::string& url) {
  return with_retries({.attempts = 3}, cancelled, [&] { return client.get(request(url)); });
}

Hub::Hub(std::string title, std::string endpoint, std::string token, const char* token_name)
    : title_(std::move(title)), endpoint_(std::move(endpoint)), token_name_(token_name) {
  while (endpoint_.ends_with('/')) endpoint_.pop_back();
  if (!token.empty() && is_open_to_others(endpoint_)) {
    notice_ = format_message(
        "the token is not sent to {}, where others could read it on the way: give an "
        "address of https",
        shown_url(endpoint_));
    token.clear();
  }
  credentials_ = {.origin = endpoint_, .bearer = std::move(token)};
}

void Hub::fail_with(const HttpResponse& answer, const std::string& repository,
                    const std::string& what) const {
  const std::string reason = answer.header("x-error-code");
  const bool has_token = !credentials_.bearer.empty();
  const MessagePart token{token_name_};
  if (answer.status == 429)
    fail(ErrorCode::kIo, "{} takes no more requests for now{}; try again later, or give a token in {}",
         title_, answer.retry_after ? fmt::format(" (for {:.0f} s)", *answer.retry_after) : "", token);
  if (answer.status >= 500)
    fail(ErrorCode::kIo, "{} fails with {} for {}; try again later", title_, answer.status, what);
  if (reason == "GatedRepo" || (reason.empty() && answer.status == 403))
    fail(ErrorCode::kInvalidArgument,
         "{} is gated: ask for access at {}/{} in a browser, then give a token of that account in {}",
         repository, endpoint_, repository,
         MessagePart{has_token ? fmt::format("{} (the one given has no access)", token_name_) : token_name_});
  if (reason == "RevisionNotFound")
    fail_field(ErrorCode::kInvalidArgument, "revision", "{} has no such branch, tag or commit; see {}/{}",
               repository, endpoint_, repository);
  if (answer.status == 401 || reason == "RepoNotFound" || answer.status == 404)
    fail(
        ErrorCode::kInvalidArgument, "{} has no {}{}: check its name{}", title_, what,
        reason == "EntryNotFound" ? "" : MessagePart{" that this user may see"}.text,
        MessagePart{has_token ? fmt::format(", and that the token in {} is valid and may see it", token_name_)
                              : fmt::format("; for a private one give a token in {}", token_name_)});
  const std::string said = answer.header("x-error-message");
  fail(ErrorCode::kIo, "{} answers {} for {}{}{}", title_, answer.status, what, said.empty() ? "" : ": ",
       shortened(said));
}

std::unique_ptr<Hub> find_hub(const std::string& source) {
  if (source == "huggingface") return hugging_face();
  if (source == "modelscope") return model_scope();
  fail(ErrorCode::kInvalidArgument, "`source` {}: expected huggingface or modelscope", source);
}

bool is_repository_name(std::string_view name) {
  const std::size_t slash = name.find('/');
  if (slash == std::string_view::npos) return false;
  const auto is_part = [](std::string_view part) {
    constexpr std::string_view kMarks = "-_.";
    const auto is_plain = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    return !part.empty() && part.size() <= 96 && part.front() != '.' && part.front() != '-' &&
           part.find("..") == std::string_view::npos && std::ranges::all_of(part, [&](char c) {
             return is_plain(c) || kMarks.find(c) != std::string_view::npos;
           });
  };
  return is_part(name.substr(0, slash)) && is_part(name.substr(slash + 1));
}

void check_hub_path(const std::string& path) {
  bool fine = is_plain_utf8(path) && path.size() <= 1000 && path == without_controls(path, '_') &&
              path.find('\\') == std::string::npos;
  std::size_t begin = 0;
  while (fine && begin <= path.size()) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string part = path.substr(begin, end - begin);
    fine = !part.empty() && part != "." && part != ".." && part.size() <= 200;
    begin = end + 1;
  }
  WAN_CHECK(fine, kBadFile,
            "the repository names a file {}, which would not stay in its folder; do not trust it",
            quote_name(path));
}

std::string environment_or(const char* name, const std::string& otherwise) {
  const char* const value = std::getenv(name);
  const std::string text = value != nullptr ? trimmed(value) : "";
  return text.empty() ? otherwise : text;
}

}  // namespace wan
