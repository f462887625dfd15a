#include "extension/chat_client.h"

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "json/json_reader.h"
#include "json/json_text.h"
#include "json/strict_json.h"
#include "net/url.h"

namespace wan {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kAnswerDepth = 32;
constexpr const char* kDashScope = "https://dashscope.aliyuncs.com/api/v1";
constexpr std::string_view kCompletions = "/chat/completions";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string without_last_slashes(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url;
}

/// DashScope's own protocol has its address below /api/v1, OpenAI's beside it.
std::string compatible_address(std::string url) {
  constexpr std::string_view kOwn = "/api/v1";
  url = without_last_slashes(std::move(url));
  if (!url.ends_with(kOwn)) return url;
  return url.substr(0, url.size() - kOwn.size()) + "/compatible-mode/v1";
}

std::string completions_address(std::string url) {
  url = without_last_slashes(std::move(url));
  return url.ends_with(kCompletions) ? url : url + std::string(kCompletions);
}

/// What the server says, without the key, for a message.
std::string told_by_server(const ChatServer& server, std::string text) {
  constexpr std::string_view kHidden = "[key]";  // in which a short key may stand itself
  if (!server.key.empty())
    for (std::size_t at = text.find(server.key); at != text.npos;
         at = text.find(server.key, at + kHidden.size()))
      text.replace(at, server.key.size(), kHidden);
  return shortened(text);
}

/// The message of an error's body: OpenAI's and DashScope's form, or what else it is.
std::string reason_of(const ChatServer& server, const HttpResponse& response) {
  std::string text = response.body;
  try {
    const nlohmann::json body = parse_strict_json(response.body, "answer", kAnswerDepth);
    const nlohmann::json& error = body.contains("error") ? body["error"] : body;
    if (error.is_string())
      text = error.get<std::string>();
    else if (error.is_object() && error.contains("message") && error["message"].is_string())
      text = error["message"].get<std::string>();
  } catch (const std::exception&) {  // no JSON: an address that is none of such a server, or a proxy
  }
  return text.empty() ? "" : ": " + told_by_server(server, text);
}

[[noreturn]] void fail_with_status(const ChatServer& server, const HttpResponse& response) {
  const std::string reason = reason_of(server, response);
  const std::string where = shown_url(server.url);
  switch (response.status) {
    case 401:
    case 403:
      if (server.key.empty())
        fail(ErrorCode::kInvalidArgument, "{} wants a key ({}){}; set {}", where, response.status, reason,
             server.key_name);
      fail(ErrorCode::kInvalidArgument, "{} refuses the key in {} ({}){}; set one that is valid there", where,
           server.key_name, response.status, reason);
    case 404:
      fail(ErrorCode::kInvalidArgument,
           "{} has no such address, or no model {} (404){}; check `prompt_extend_url`, which ends with /v1 "
           "at most "
           "servers, and `prompt_extend_model`",
           where, server.model, reason);
    case 400:
    case 413:
    case 422:
      fail(ErrorCode::kInvalidArgument,
           "{} does not take the question ({}){}; check `prompt_extend_model`, and whether it takes images",
           where, response.status, reason);
    case 429:
      fail(ErrorCode::kIo, "{} takes no more questions for now, or none without payment (429){}; try later",
           where, reason);
    default:
      fail(ErrorCode::kIo, "{} answers with status {}{}; try again, or see what the server itself tells",
           where, response.status, reason);
  }
}

Json content_of(const ChatQuestion& question) {
  if (question.image.empty()) return question.prompt;
  return Json::array({{{"type", "text"}, {"text", question.prompt}},
                      {{"type", "image_url"}, {"image_url", {{"url", question.image}}}}});
}

std::string body_of(const ChatServer& server, const ChatQuestion& question) {
  // 31 bits, which every server's reader of numbers takes.
  const std::uint64_t seed = question.seed & 0x7fffffff;
  const Json body = {{"model", server.model},
                     {"messages",
                      {{{"role", "system"}, {"content", question.system}},
                       {{"role", "user"}, {"content", content_of(question)}}}},
                     {"seed", seed},
                     {"stream", false}};
  return json_text(body);
}

/// A string, or parts of which some are text.
std::string text_of_content(const JsonReader& content) {
  if (content.is_string()) return content.text();
  std::string text;
  for (const JsonReader& part : content.elements())
    if (const auto piece = part.find("text")) text += piece->text();
  return text;
}

ChatAnswer read_answer(const HttpResponse& response) {
  const nlohmann::json document =
      parse_strict_json(response.body, "answer", kAnswerDepth, "it may be none of a chat server");
  const JsonReader json(document, "answer");
  const auto choices = json.at("choices").elements();
  WAN_CHECK(!choices.empty(), kIo, "[answer] has no choices");
  const auto content = choices.front().at("message").find("content");
  ChatAnswer answer{.text = content ? text_of_content(*content) : ""};
  if (const auto reason = choices.front().find("finish_reason")) answer.ended = reason->text() != "length";
  return answer;
}

}  // namespace

ChatServer find_chat_server(const PromptExtension& extension, bool has_image) {
  ChatServer server;
  server.model = extension.prompt_extend_model;
  std::string url = extension.prompt_extend_url;
  if (extension.prompt_extend_method == "dashscope") {
    server.key_name = "DASH_API_KEY";
    if (url.empty()) url = environment("DASH_API_URL");
    if (url.empty()) url = kDashScope;
    server.url = completions_address(compatible_address(url));
    if (server.model.empty()) server.model = has_image ? "qwen-vl-max" : "qwen-plus";
    server.key = environment("DASH_API_KEY");
    WAN_CHECK(!server.key.empty(), kInvalidArgument,
              "`prompt_extend_method` dashscope needs a key: set DASH_API_KEY, or use local_qwen or openai");
  } else {
    server.key_name = "OPENAI_API_KEY";
    if (url.empty()) url = environment("OPENAI_BASE_URL");
    WAN_CHECK(!url.empty(), kInvalidArgument,
              "`prompt_extend_url` is missing: name the server, such as http://localhost:8080/v1");
    WAN_CHECK(!server.model.empty(), kInvalidArgument,
              "`prompt_extend_model` is missing: name one of the server's models");
    server.url = completions_address(url);
    server.key = environment("OPENAI_API_KEY");
  }
  check_url("`prompt_extend_url`", server.url);
  WAN_CHECK(server.key.empty() || !is_open_to_others(server.url), kInvalidArgument,
            "`prompt_extend_url` {}: the key in {} would be sent unencrypted to another machine; use https, "
            "or unset "
            "the key",
            shown_url(server.url), server.key_name);
  return server;
}

ChatAnswer ask_chat_server(const ChatServer& server, const ChatQuestion& question,
                           const ChatPatience& patience, const std::atomic<bool>* cancelled) {
  HttpClient client;
  const std::string body = body_of(server, question);
  const HttpRequest request{.url = server.url,
                            .credentials = {.origin = server.url, .bearer = server.key},
                            .limits = patience.limits,
                            .cancelled = cancelled};
  const HttpResponse response =
      with_retries(patience.retries, cancelled, [&] { return client.post_json(request, body); });
  if (!response.ok()) fail_with_status(server, response);
  ChatAnswer answer;
  try {
    answer = read_answer(response);
  } catch (const Error& error) {
    fail(ErrorCode::kIo, "{} gives an answer that cannot be read: {}; check `prompt_extend_url`",
         shown_url(server.url), told_by_server(server, error.what()));
  }
  const std::size_t first = answer.text.find_first_not_of(" \t\r\n");
  WAN_CHECK(first != answer.text.npos, kIo,
            "{} gives an empty answer; try again, or another `prompt_extend_model`", shown_url(server.url));
  return answer;
}

}  // namespace wan
