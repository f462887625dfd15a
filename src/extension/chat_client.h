#pragma once
// ChatClient: one question to a server with chat completions of OpenAI's kind: DashScope, llama-server, vLLM, Ollama, OpenAI.

#include <atomic>
#include <cstdint>
#include <string>

#include "net/http_client.h"
#include "net/retries.h"
#include "wan/extension.h"

namespace wan {

/// Where to ask, and as whom.
struct ChatServer {
  std::string url;       // of the chat completions
  std::string key;       // empty for none
  std::string key_name;  // the environment variable that the key comes from, for messages
  std::string model;
};

struct ChatQuestion {
  std::string system;
  std::string prompt;
  std::string image = {};  // a data URL; empty for none
  std::uint64_t seed = 0;
};

struct ChatAnswer {
  std::string text;
  bool ended = true;  // otherwise cut where the server allows no more
};

/// The server of a method, from options and the environment: DASH_API_KEY and DASH_API_URL, or OPENAI_API_KEY and OPENAI_BASE_URL.
/// Throws InvalidArgument where an address, key or model is missing, or the key would go unencrypted to another machine.
ChatServer find_chat_server(const PromptExtension& extension, bool has_image);

/// Times of a question, and how often it is asked again.
struct ChatPatience {
  HttpLimits limits{
      .connect_seconds = 20, .stall_seconds = 180, .total_seconds = 600, .most_body_bytes = 4 << 20};
  RetryPolicy retries{.attempts = 4, .first_wait = 1, .longest_wait = 30};
};

/// Throws Io, InvalidArgument or Unsupported, which say what is wrong in the server's words and ours, and Cancelled. The key stands in no
/// message.
ChatAnswer ask_chat_server(const ChatServer& server, const ChatQuestion& question,
                           const ChatPatience& patience, const std::atomic<bool>* cancelled);

}  // namespace wan
