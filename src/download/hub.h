#pragma once
// Hub: a place that models are published in, and what its answers mean.

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/http_client.h"
#include "net/retries.h"
#include "wan/download.h"

namespace wan {

/// A client with what all its requests have in common.
struct Connection {
  HttpClient client = {};
  HttpCredentials credentials = {};
  double timeout = 60;  // seconds without a byte
  const std::atomic<bool>* cancelled = nullptr;

  HttpRequest request(const std::string& url) const;
  /// An answer to a short question, asked again where that may help.
  HttpResponse ask(const std::string& url);
};

struct HubListing {
  std::string commit;
  std::vector<DownloadFile> files;  // as the hub has them, paths unchecked
};

class Hub {
 public:
  virtual ~Hub() = default;
  /// For messages: "Hugging Face", or the mirror's host.
  const std::string& title() const { return title_; }
  const HttpCredentials& credentials() const { return credentials_; }
  /// What a person should know of the token; empty for nothing.
  const std::string& notice() const { return notice_; }

  /// The repository's files at `revision`, which is empty for the main branch. Throws as plan_download().
  virtual HubListing list(Connection& connection, const std::string& repository,
                          const std::string& revision) const = 0;
  virtual std::string file_url(const std::string& repository, const std::string& commit,
                               const std::string& path) const = 0;
  /// Throws what an answer other than success says to the user. `what` is the repository, or one of its files.
  [[noreturn]] void fail_with(const HttpResponse& answer, const std::string& repository,
                              const std::string& what) const;

 protected:
  /// `endpoint` without a slash at its end. No token goes where others could read it on the way.
  Hub(std::string title, std::string endpoint, std::string token, const char* token_name);
  const std::string& endpoint() const { return endpoint_; }

 private:
  std::string title_;
  std::string endpoint_;
  const char* token_name_;
  HttpCredentials credentials_;
  std::string notice_;
};

/// Endpoints and tokens are the environment's.
std::unique_ptr<Hub> hugging_face();
std::unique_ptr<Hub> model_scope();
/// "huggingface" or "modelscope". Throws InvalidArgument for another one.
std::unique_ptr<Hub> find_hub(const std::string& source);

/// "ORG/REPO", of letters, digits, "-", "_" and "."; neither part begins with a dot or dash or has two dots in a row.
bool is_repository_name(std::string_view name);

/// Throws BadFile unless a hub's path stays below the folder that it is put in, on every file system.
void check_hub_path(const std::string& path);

/// A variable of the environment without white space around it; `otherwise` where it is not set or empty.
std::string environment_or(const char* name, const std::string& otherwise);

}  // namespace wan
