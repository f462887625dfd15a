#include "cuda_emulation/emulator.h"

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"

namespace wan::cuda_emulation {

namespace {

constexpr unsigned kWarp = 32;
constexpr unsigned kMostThreads = 1024;
constexpr std::size_t kMostShared = std::size_t{99} * 1024;  // a block's, on the smallest device supported
// Not a power of two: such stacks would share lines of the cache.
constexpr std::size_t kStack = std::size_t{64} * 1024 + 576;

enum class State { kReady, kAtBarrier, kAtExchange, kDone };

/// Where a fiber or the scheduler goes on. The compiler's jumps: the C library's look for cleanups of threads each time.
using Place = std::array<void*, 5>;

/// A stack of its own for one thread of a block, used again by the next block's.
struct Fiber {
  Place place{};              // where it goes on
  bool on_its_stack = false;  // `place` is set
  bool between_bodies = false;
  std::unique_ptr<std::byte[]> stack = std::make_unique_for_overwrite<std::byte[]>(kStack);
  State state = State::kDone;
  std::uint32_t exchanges = 0;  // warp operations so far
};

/// Values on their way between lanes. Two sets: a lane may give its next value before another has taken this one.
struct Warp {
  std::array<std::array<std::uint32_t, kWarp>, 2> values{};
};

struct Machine {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<unsigned> order;
  std::vector<std::byte> shared;
  Place scheduler{};
  unsigned current = 0;
  unsigned count = 0;                  // threads of the block
  std::array<unsigned, 4> in_state{};  // of them, by State
  unsigned launches = 0;
  std::string failure;
  const std::function<void()>* body = nullptr;
  std::mt19937 random{1};
};

/// The block that runs, and how its threads are told who they are.
struct BlockPlace {
  uint3 block;
  dim3 size;
  const std::function<void(const ThreadPlace&)>& place_thread;
};

Machine& machine() {
  static thread_local Machine instance;
  return instance;
}

unsigned& count_of(Machine& m, State state) {
  return m.in_state[static_cast<std::size_t>(state)];
}

void set_state(Machine& m, Fiber& fiber, State state) {
  --count_of(m, fiber.state);
  ++count_of(m, state);
  fiber.state = state;
}

void yield_to_scheduler(State state) {
  Machine& m = machine();
  Fiber& fiber = m.fibers[m.current];
  set_state(m, fiber, state);
  if (__builtin_setjmp(fiber.place.data()) == 0) __builtin_longjmp(m.scheduler.data(), 1);
}

void fiber_main() {
  for (;;) {
    (*machine().body)();
    machine().fibers[machine().current].between_bodies = true;
    yield_to_scheduler(State::kDone);
  }
}

/// Goes on in a fiber until it yields. A first time swaps contexts; later ones jump, since swapping makes a system call, which took
/// four fifths of the tests' time.
void enter_fiber(Machine& m, Fiber& fiber) {
  if (__builtin_setjmp(m.scheduler.data()) != 0) return;
  if (fiber.on_its_stack) __builtin_longjmp(fiber.place.data(), 1);
  fiber.on_its_stack = true;
  ucontext_t context{};
  getcontext(&context);
  context.uc_stack.ss_sp = fiber.stack.get();
  context.uc_stack.ss_size = kStack;
  context.uc_link = nullptr;
  makecontext(&context, fiber_main, 0);
  setcontext(&context);
}

void start_fibers(Machine& m) {
  for (unsigned t = 0; t < m.count; ++t) {
    Fiber& fiber = m.fibers[t];
    // One that was stopped, or hangs, never returns from its body: its stack is begun anew.
    fiber.on_its_stack = fiber.on_its_stack && fiber.between_bodies;
    fiber.between_bodies = false;
    fiber.state = State::kReady;
    fiber.exchanges = 0;
  }
  m.in_state = {};
  count_of(m, State::kReady) = m.count;
}

/// Forwards, backwards or shuffled, by the number of the launch.
void order_threads(Machine& m) {
  m.order.resize(m.count);
  std::iota(m.order.begin(), m.order.end(), 0u);
  if (m.launches % 4 == 1) std::reverse(m.order.begin(), m.order.end());
  if (m.launches % 4 == 2) std::shuffle(m.order.begin(), m.order.end(), m.random);
}

/// In every fourth launch, and the one after it, warps do not go on together: one goes as far as it can before the next
/// does anything.
bool warps_run_apart(const Machine& m) {
  return m.launches % 4 == 3 || m.launches % 8 == 0;
}

/// Lets a warp past an operation that all of its lanes wait at. True where there was one.
bool release_warp(Machine& m, unsigned first) {
  const unsigned end = std::min(first + kWarp, m.count);
  for (unsigned t = first; t < end; ++t)
    if (m.fibers[t].state != State::kAtExchange || m.fibers[t].exchanges != m.fibers[first].exchanges)
      return false;
  for (unsigned t = first; t < end; ++t) set_state(m, m.fibers[t], State::kReady);
  return true;
}

bool release_warps(Machine& m) {
  bool released = false;
  if (count_of(m, State::kAtExchange) == 0) return released;
  for (unsigned first = 0; first < m.count; first += kWarp) released = release_warp(m, first) || released;
  return released;
}

bool release_block(Machine& m) {
  if (count_of(m, State::kAtBarrier) != m.count) return false;
  for (unsigned t = 0; t < m.count; ++t) set_state(m, m.fibers[t], State::kReady);
  return true;
}

bool all_done(Machine& m) {
  return count_of(m, State::kDone) == m.count;
}

std::string describe_hang(Machine& m) {
  return fmt::format("{} threads wait at a barrier, {} at a warp operation and {} have returned",
                     count_of(m, State::kAtBarrier), count_of(m, State::kAtExchange),
                     count_of(m, State::kDone));
}

/// Lets thread t go on until it waits, where it can.
void run_thread(Machine& m, const BlockPlace& place, unsigned t) {
  if (m.fibers[t].state != State::kReady) return;
  m.current = t;
  const dim3& size = place.size;
  place.place_thread({uint3{t % size.x, t / size.x % size.y, t / size.x / size.y}, place.block});
  enter_fiber(m, m.fibers[t]);
  WAN_CHECK(m.failure.empty(), kDevice, "[cuda emulation] {}, in thread {} of block {}, {}", m.failure, t,
            place.block.x, place.block.y);
}

void run_block(Machine& m, const BlockPlace& place) {
  // Whatever was there before means nothing: as f32 or bf16, NaN.
  std::fill(m.shared.begin(), m.shared.end(), std::byte{0xff});
  start_fibers(m);
  while (!all_done(m)) {
    order_threads(m);
    if (warps_run_apart(m)) {
      const bool backwards = m.launches % 8 == 7;
      const unsigned warps = (m.count + kWarp - 1) / kWarp;
      for (unsigned w = 0; w < warps; ++w) {
        const unsigned first = (backwards ? warps - 1 - w : w) * kWarp;
        do {
          for (unsigned t = first; t < std::min(first + kWarp, m.count); ++t) run_thread(m, place, t);
        } while (release_warp(m, first));
      }
    } else {
      for (const unsigned t : m.order) run_thread(m, place, t);
    }
    if (release_warps(m) || release_block(m) || all_done(m)) continue;
    fail(ErrorCode::kDevice, "[cuda emulation] block {}, {} hangs: {}", place.block.x, place.block.y,
         describe_hang(m));
  }
}

}  // namespace

void run_grid(const Grid& grid, const std::function<void(const ThreadPlace&)>& place_thread,
              const std::function<void()>& body) {
  Machine& m = machine();
  m.count = grid.block.x * grid.block.y * grid.block.z;
  WAN_CHECK(m.count > 0 && m.count <= kMostThreads, kDevice, "[cuda emulation] a block of {} threads",
            m.count);
  WAN_CHECK(grid.shared_bytes <= kMostShared, kDevice, "[cuda emulation] {} bytes of shared memory",
            grid.shared_bytes);
  WAN_CHECK(grid.grid.y <= 65535 && grid.grid.z <= 65535, kDevice,
            "[cuda emulation] a grid of {} x {} x {} blocks", grid.grid.x, grid.grid.y, grid.grid.z);
  if (m.fibers.size() < m.count) m.fibers.resize(m.count);
  m.warps.resize((m.count + kWarp - 1) / kWarp);
  m.shared.resize(grid.shared_bytes);
  m.failure.clear();
  m.body = &body;
  ++m.launches;
  for (unsigned z = 0; z < grid.grid.z; ++z)
    for (unsigned y = 0; y < grid.grid.y; ++y)
      for (unsigned x = 0; x < grid.grid.x; ++x) run_block(m, {{x, y, z}, grid.block, place_thread});
}

void block_barrier() {
  yield_to_scheduler(State::kAtBarrier);
}

unsigned lane() {
  return machine().current % kWarp;
}

std::uint32_t warp_exchange(unsigned mask, std::uint32_t value, unsigned source) {
  if (mask != 0xffffffffu) stop("a warp operation with some lanes only");
  Machine& m = machine();
  const unsigned warp = m.current / kWarp;
  const unsigned lanes = std::min(kWarp, m.count - warp * kWarp);
  if (source >= lanes) stop("a value from a lane that the block does not have");
  Fiber& fiber = m.fibers[m.current];
  auto& values = m.warps[warp].values[fiber.exchanges++ % 2];
  values[lane()] = value;
  yield_to_scheduler(State::kAtExchange);
  return values[source];
}

std::byte* dynamic_shared_memory() {
  return machine().shared.data();
}

void stop(const char* why) {
  machine().failure = why;
  yield_to_scheduler(State::kDone);
}

}  // namespace wan::cuda_emulation
