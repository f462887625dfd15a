#pragma once
// What a machine can do, and what is wrong with it: `wan doctor`.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "wan/error.h"
#include "wan/request.h"

namespace wan {

struct DoctorOptions {
  /// A checkpoint whose files are looked at, and whose disk's speed is measured; empty: none.
  std::filesystem::path ckpt_dir = {};
  /// GPUs that this machine need not have: "A40 x2", "RTX 4090", "A40 x2 nvlink", "H200 x8 pcie". Then the machine itself is not
  /// looked at. Empty: this machine's.
  std::string pretend = {};
};

/// What is wrong, as an Error has it (members in backquotes), and what to do.
struct DoctorProblem {
  ErrorCode code = ErrorCode::kDevice;
  std::string what = {};
  std::string remedy = {};
  bool advice = false;  // the machine works, and would be better without it
};

struct DoctorHost {
  int processors = 0;                                  // that this process may use
  std::string instruction_set = {};                    // of the vector kernels: "avx512"
  std::int64_t memory = 0;                             // of the machine, in bytes
  std::int64_t available = 0;                          // to this process: limits and control groups counted
  std::optional<std::int64_t> memory_lock_limit = {};  // of this process (RLIMIT_MEMLOCK); unset: none
  std::int64_t lockable = 0;                           // what a trial has locked of 64 MB
  std::vector<std::string> codecs = {};                // of .mp4 files that this build writes; empty: none
  /// Variables that change how programs run on GPUs or many processors, as they are set.
  std::vector<std::pair<std::string, std::string>> environment = {};
};

/// The CUDA of this build and of this machine. Versions are as the libraries count them: CUDA 13000, cuDNN 91900, NCCL 22707.
struct DoctorCuda {
  bool built = false;
  std::string reason = {};  // why no GPU can be used; empty: some can
  std::string driver = {};  // "580.65.06"; empty: none is loaded, or it does not tell
  int driver_cuda = 0;      // the newest that the driver runs; 0: no driver
  int runtime = 0;          // that the build was made with, which the driver must run
  int cudnn = 0;            // that is loaded
  int cudnn_built =
      0;         // that the build was made with, which is the oldest of its major version that it takes
  int nccl = 0;  // by which the GPUs of several processes exchange; 0: none was found
  std::string nccl_reason =
      {};  // why NCCL is not used, so that processes exchange through the hosts' memory; empty: it is
  int cards =
      0;  // NVIDIA display or compute cards on the machine's buses, whether a driver shows them or not
};

struct DoctorGpu {
  int index = 0;
  std::string name = {};
  std::string bus = {};         // "0000:17:00.0"
  std::string capability = {};  // "9.0"
  std::int64_t memory = 0;
  std::int64_t free = 0;
  std::string unusable = {};           // why this build cannot use it; empty: it can
  int pcie_generation = 0;             // that card and slot can do; 0: unknown
  int pcie_width = 0;                  // lanes in use
  int pcie_most = 0;                   // lanes that the card has
  int nvlinks = 0;                     // that are up
  double upload_bytes_per_second = 0;  // from pageable memory, by way of page-locked; 0: not measured
};

/// The way from one GPU's memory to another.
struct DoctorPair {
  int from = 0;
  int to = 0;
  std::string link = {};     // "NVLink", "PCIe, one switch", "PCIe, between processors"
  bool peer_access = false;  // that the driver says it has
  double bytes_per_second = 0;
  bool equal = false;        // whether what arrived is what was sent
  std::string failure = {};  // why nothing was measured
};

/// All ranks send to all, as in a step of Ulysses.
struct DoctorExchange {
  int ranks = 0;
  std::string devices = {};     // "cpu", "cuda:0, cuda:1"
  double bytes_per_second = 0;  // that each rank received
  bool equal = false;
  std::string failure = {};
};

struct DoctorCheckpoint {
  std::string path = {};
  std::string task = {};       // "t2v-A14B"; empty: it is none that generation takes
  std::int64_t bytes = 0;      // of its tensors
  std::string read_file = {};  // whose speed was measured
  double read_bytes_per_second = 0;
  bool cached = false;  // the system does not read past its page cache here: the rate may be the memory's
};

/// A way to make a video of a published model.
struct DoctorLayout {
  int gpus = 1;
  bool guidance_parallel = false;  // each of a step's two passes on a half of the GPUs
  int ulysses_size = 1;            // GPUs that divide a pass's tokens
  std::string weights = {};        // "resident", "sharded", "partly sharded", "as many as fit", "streamed"
  int block_places = 0;            // blocks that are in a GPU's memory at a time, or that are sharded, of
  int blocks = 0;
  // Bytes of one GPU, the first one's, which has most.
  std::int64_t weight_bytes = 0;  // of transformers and text encoder, as held
  std::int64_t activations = 0;   // beside them in a step: scratch, latents, contexts
  std::int64_t vae = 0;           // weights, caches and scratch while frames are decoded
  std::int64_t peak = 0;
  std::int64_t available = 0;
  int vae_tile = 0;                 // pixels; 0: whole frames
  std::int64_t host_read_step = 0;  // bytes of weights, in bf16, that come from the host in a step
  // Estimates; 0 where nothing is known of such a GPU.
  double step_seconds = 0;
  double exchange_seconds = 0;  // of a step
  double waiting_seconds = 0;   // of a step: for weights
  double video_seconds = 0;     // all steps, images encoded and frames decoded; without loading and text
  std::string arithmetic = {};  // of step_seconds
  bool best = false;            // the fastest of its number of GPUs; of such as are equal the simplest
};

struct DoctorVideo {
  std::string task = {};
  VideoSize size{};
  int frames = 0;
  int steps = 0;
  std::int64_t tokens = 0;
  double pass_flops = 0;                   // of one pass of one transformer
  double pass_seconds = 0;                 // on one GPU
  double vae_seconds = 0;                  // likewise
  std::string arithmetic = {};             // of pass_seconds and vae_seconds
  std::vector<DoctorLayout> layouts = {};  // that fit
};

struct DoctorReport {
  bool pretended = false;
  std::string gpus = {};  // that the videos are planned for: "2 x A40, 48.3 GB each, PCIe"; empty: none
  DoctorHost host = {};   // empty where pretended, as all to `checkpoint`
  DoctorCuda cuda = {};
  std::vector<DoctorGpu> devices = {};
  std::vector<DoctorPair> pairs = {};
  std::optional<DoctorExchange> exchange = {};  // as a video's ranks would, with EngineOptions::p2p "auto"
  std::optional<DoctorExchange> exchange_by_host = {};  // of GPUs, with "off"
  std::optional<DoctorCheckpoint> checkpoint = {};
  std::vector<DoctorVideo> videos = {};  // of each published model and size
  std::vector<DoctorProblem> problems = {};
};

/// Looks at everything. Takes some seconds a pair of GPUs and two for a disk. Throws InvalidArgument for a GPU that is not known.
DoctorReport examine(const DoctorOptions& options);

}  // namespace wan
