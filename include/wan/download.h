#pragma once
// Downloading models from Hugging Face or ModelScope, over plain HTTPS.

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "wan/events.h"

namespace wan {

/// A published model that goes by its task's name.
struct PublishedModel {
  std::string name;        // "t2v-A14B"
  std::string repository;  // "Wan-AI/Wan2.2-T2V-A14B", in both places
};

std::vector<PublishedModel> published_models();

struct DownloadOptions {
  std::string name;  // of a published model, "t2v-A14B", or a repository, "ORG/REPO"
  /// Names, folders or patterns ("split_files/vae/*") of files in the repository. Empty: of a published model what the program reads, of
  /// another repository everything.
  std::vector<std::string> files = {};
  std::string source = "huggingface";    // or "modelscope"
  std::string revision = {};             // a branch, tag or commit; empty: the main branch
  std::filesystem::path local_dir = {};  // empty: model_folder() of the repository
  int connections = 4;                   // files at a time
  double timeout = 60;                   // seconds without a byte after which a connection is given up
};

struct DownloadFile {
  std::string path;           // in the repository, and below the folder
  std::int64_t size = 0;      // bytes
  std::string sha256 = {};    // empty where the source does not say
  std::string git_sha1 = {};  // of the file as an object of git, likewise
  bool there = false;     // in the folder already, with that size; its content is compared while downloading
  std::int64_t part = 0;  // bytes that an earlier download has left
};

/// What a download would fetch.
struct DownloadPlan {
  std::string repository;  // "Wan-AI/Wan2.2-T2V-A14B"
  std::string commit;      // the revision that all files are of
  std::filesystem::path folder;
  std::vector<DownloadFile> files;       // that are wanted, sorted by path
  std::vector<std::string> others = {};  // what else the repository has

  std::int64_t bytes() const;          // of all files
  std::int64_t missing_bytes() const;  // of those that are yet to come
};

/// Asks the source. Tokens come from HF_TOKEN or the file of Hugging Face's login, and from MODELSCOPE_API_TOKEN; addresses from
/// HF_ENDPOINT and MODELSCOPE_ENDPOINT. Throws InvalidArgument for a repository, revision or file that is not there or not for this user, Io
/// where the source cannot be reached, BadFile for an answer that cannot be right.
DownloadPlan plan_download(const DownloadOptions& options, const std::atomic<bool>* cancelled = nullptr);

/// Fetches what is missing, several files at a time; a file gets its name when its size and content are right. What an interrupted download
/// has left is gone on with. Throws Io where the disk has no room, InvalidArgument for another file under a wanted name, Cancelled, and
/// as plan_download().
void download(const DownloadOptions& options, const DownloadPlan& plan, const EventHandler& on_event,
              const std::atomic<bool>* cancelled = nullptr);

/// Where a repository's files are put: ORG/REPO below the folder WAN_MODELS, or that of the user's data, ~/.local/share/wan/models.
std::filesystem::path model_folder(const std::string& repository);

/// The folder of a model that has been downloaded there, by the name of a published one, "ORG/REPO" or REPO alone. Nothing where there is none.
std::optional<std::filesystem::path> downloaded_folder(const std::string& name);

}  // namespace wan
