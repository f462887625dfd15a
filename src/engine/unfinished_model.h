#pragma once
// UnfinishedModel: a model's file that is being written, and that a later process goes on with.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace wan {

/// Until it is whole it is called NAME.partial, beside its target NAME.*, and is locked while a process writes it. NAME.journal says what is
/// made there, and of each part that is whole a sum of its bytes: of a file that is found only parts whose bytes have that sum are taken up.
class UnfinishedModel {
 public:
  /// Of the file; parts are written in their order, and nothing else is in it but zeros.
  struct Part {
    std::int64_t offset;
    std::int64_t bytes;
  };

  /// Takes up what is there of `target`, from an earlier process with the same `identity` (one line: from what the file is made, and how) and
  /// parts, or begins anew. Throws Io, also where another process writes the file.
  UnfinishedModel(const std::filesystem::path& target, const std::string& identity, std::vector<Part> parts);
  ~UnfinishedModel();
  UnfinishedModel(const UnfinishedModel&) = delete;
  UnfinishedModel& operator=(const UnfinishedModel&) = delete;

  /// What write() was told of each part that is whole: of the first ones.
  std::span<const double> errors() const { return errors_; }
  /// What was there was not of this identity, and is gone.
  bool replaces_another() const { return replaces_another_; }

  /// The next part; `error` is kept beside it. Throws Io; what was written before stays for a later process.
  void write(std::span<const std::byte> part, double error);
  /// Gives the file its name, once all parts are written.
  void commit();
  /// Nothing is left for a later process.
  void remove();

  /// Bytes on disk that are there of `target`.
  static std::int64_t bytes_there(const std::filesystem::path& target);
  /// Of a target that is whole: what a process that ended right then may have left.
  static void tidy(const std::filesystem::path& target);

 private:
  void close();
  void lock();
  /// Finds the first parts that are whole, and the end of what the journal says of them; 0 where there is nothing to go on with.
  void take_up(const std::string& identity);
  void add_to_journal(const std::string& line);
  void check(bool done) const;

  std::filesystem::path target_;
  std::filesystem::path file_;
  std::filesystem::path journal_;
  std::vector<Part> parts_;
  std::vector<double> errors_;
  bool replaces_another_ = false;
  int fd_ = -1;
  int journal_fd_ = -1;
  std::int64_t journal_bytes_ = 0;
};

}  // namespace wan
