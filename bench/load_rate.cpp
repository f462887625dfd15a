// How fast the blocks of a checkpoint come into host memory from a disk, beside plain reads of the same files on four threads.
//
//     load_rate CHECKPOINT [PREFIX]     e.g. high_noise_model blocks
//
// Before each pass the files are asked out of the page cache; what another process has mapped stays there. As many GB of
// memory are taken as the blocks have.

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "weights/block_residency.h"

namespace {

using namespace wan;

constexpr int kPasses = 3;
constexpr int kReaders = 4;
constexpr std::size_t kReadBytes = 16 << 20;

struct File {
  explicit File(const std::string& path) : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    WAN_CHECK(fd >= 0, kBadFile, "cannot open {}", path);
    bytes = ::lseek(fd, 0, SEEK_END);
  }
  ~File() { ::close(fd); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  void forget() const { ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); }

  int fd;
  off_t bytes = 0;
};

template <typename Body>
double seconds_of(const Body& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double gb(std::size_t bytes) {
  return static_cast<double>(bytes) / 1e9;
}

/// The whole file, a piece a thread in turn.
void read_on_threads(const File& file) {
  std::atomic<bool> failed{false};
  std::vector<std::thread> threads;
  for (int reader = 0; reader < kReaders; ++reader) {
    threads.emplace_back([&, reader] {
      std::vector<char> piece(kReadBytes);
      for (off_t at = reader * static_cast<off_t>(kReadBytes); at < file.bytes;
           at += kReaders * static_cast<off_t>(kReadBytes))
        if (::pread(file.fd, piece.data(), piece.size(), at) < 0) failed = true;
    });
  }
  for (std::thread& thread : threads) thread.join();
  WAN_CHECK(!failed, kBadFile, "a file could not be read");
}

/// What "PREFIX.0." has, taken to be in every block, in the dtype of its first tensor.
BlockLayout layout_of(const Checkpoint& checkpoint, const std::string& prefix) {
  BlockLayout layout{.prefix = prefix + ".{i}.", .weights = {}};
  const std::string first = prefix + ".0.";
  for (const TensorEntry& entry : checkpoint.entries())
    if (entry.name.starts_with(first))
      layout.weights.push_back({.name = entry.name.substr(first.size()), .shape = entry.shape});
  WAN_CHECK(!layout.weights.empty(), kInvalidArgument, "{} has no tensor that begins with {}",
            checkpoint.path(), first);
  return layout;
}

void run(const std::string& path, const std::string& prefix) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  const BlockLayout layout = layout_of(checkpoint, prefix);
  const DType dtype = checkpoint.find(layout.block_weights(0).front().name)->dtype;
  std::set<std::string> paths;
  std::size_t bytes = 0;
  for (const TensorEntry& entry : checkpoint.entries()) {
    paths.insert(entry.file);
    if (entry.name.starts_with(prefix + ".")) bytes += entry.bytes();
  }
  std::vector<double> loads;
  std::vector<double> reads;
  for (int pass = 0; pass < kPasses; ++pass) {
    for (const std::string& each : paths) File(each).forget();
    WeightReport report(checkpoint, path);
    const WeightScope scope(report, WeightTarget{.compute_dtype = dtype});
    const auto residency = make_residency({{scope, layout, scope.count_children(prefix)}}, {});
    loads.push_back(gb(bytes) / seconds_of([&] { residency->preload({}); }));

    std::size_t read_bytes = 0;
    double seconds = 0;
    for (const std::string& each : paths) {
      const File file(each);
      file.forget();
      read_bytes += static_cast<std::size_t>(file.bytes);
      seconds += seconds_of([&] { read_on_threads(file); });
    }
    reads.push_back(gb(read_bytes) / seconds);
    fmt::print("pass {}: blocks {:.2f} GB/s, plain reads {:.2f} GB/s\n", pass + 1, loads.back(),
               reads.back());
  }
  const auto median = [](std::vector<double> rates) {
    std::sort(rates.begin(), rates.end());
    return rates[rates.size() / 2];
  };
  fmt::print("median: blocks {:.2f} GB/s, plain reads on {} threads {:.2f} GB/s: {:.0f}%\n", median(loads),
             kReaders, median(reads), 100 * median(loads) / median(reads));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    fmt::print(stderr, "usage: load_rate CHECKPOINT [PREFIX]\n");
    return 2;
  }
  try {
    run(argv[1], argc > 2 ? argv[2] : "blocks");
  } catch (const std::exception& error) {
    fmt::print(stderr, "load_rate: {}\n", error.what());
    return 1;
  }
  return 0;
}
