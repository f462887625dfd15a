#include "cuda_emulation/emulator.h"

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace wan::cuda_emulation {

namespace {

constexpr unsigned kWarp = 32;
constexpr unsigned kMostThreads = 1024;
constexpr std::size_t kMostShared = std::size_t{99} * 1024;  // a block's, on the smallest device supported
// Not a power of two: such stacks would share lines of the cache.
constexpr std::size_t kStack = std::size_t{64} * 1024 + 576;

enum class State : std::uint8_t { kReady, kAtBarrier, kAtExchange, kDone };

/// Where a stack's thread goes on. The compiler's jumps: the C library's look for cleanups of threads each time.
using Place = std::array<void*, 5>;

/// A stack on which a thread of a block runs, and when it has returned, the next one that has not begun: where threads do not wait, all
/// run on one.
struct Stack {
  Place place{};  // where it goes on, where it has begun
  bool begun = false;
  bool taken = false;  // by a thread that has not returned
  std::unique_ptr<std::byte[]> bytes = std::make_unique_for_overwrite<std::byte[]>(kStack);
};

/// Values on their way between lanes. Two sets: a lane may give its next value before another has taken this one.
struct Warp {
  std::array<std::array<std::uint32_t, kWarp>, 2> values{};
  unsigned waiting = 0;    // lanes, at an operation
  unsigned exchanges = 0;  // operations so far
};

struct Machine {
  std::vector<std::unique_ptr<Stack>> stacks;
  std::vector<Stack*> free_stacks;
  std::vector<std::byte> shared;
  std::vector<Warp> warps;
  // By thread of the block.
  std::vector<State> states;
  std::vector<Stack*> stack_of;  // nullptr: it has not begun, or has returned
  std::vector<uint3> places;     // threadIdx

  // Threads go on in this order, a stretch of it after the other, again and again.
  std::vector<unsigned> order;
  unsigned next = 0;
  unsigned stretch = 0, stretch_end = 0;

  Place launcher{};
  unsigned current = 0;
  unsigned count = 0;                  // threads of the block
  std::array<unsigned, 4> in_state{};  // of them, by State
  unsigned launches = 0;
  std::string failure;
  const std::function<void()>* body = nullptr;
  std::mt19937 random{1};
};

Machine& machine() {
  static thread_local Machine instance;
  return instance;
}

unsigned& count_of(Machine& m, State state) {
  return m.in_state[static_cast<std::size_t>(state)];
}

void set_state(Machine& m, unsigned thread, State state) {
  --count_of(m, m.states[thread]);
  ++count_of(m, state);
  m.states[thread] = state;
}

/// In every fourth launch, and the one after it, warps do not go on together: one goes as far as it can before the next
/// does anything.
bool warps_run_apart(const Machine& m) {
  return m.launches % 4 == 3 || m.launches % 8 == 0;
}

unsigned lanes_of(const Machine& m, unsigned warp) {
  return std::min(kWarp, m.count - warp * kWarp);
}

/// Forwards, backwards or shuffled, by the number of the launch; of warps that run apart, one forwards after the other, or before it.
void order_threads(Machine& m) {
  m.order.resize(m.count);
  std::iota(m.order.begin(), m.order.end(), 0u);
  if (m.launches % 4 == 1) std::reverse(m.order.begin(), m.order.end());
  if (m.launches % 4 == 2) std::shuffle(m.order.begin(), m.order.end(), m.random);
  if (m.launches % 8 == 7)
    std::stable_sort(m.order.begin(), m.order.end(),
                     [](unsigned a, unsigned b) { return a / kWarp > b / kWarp; });
}

/// All threads are one stretch, or those of a warp.
void begin_stretch(Machine& m, unsigned first) {
  m.next = m.stretch = first;
  m.stretch_end = warps_run_apart(m) ? first + lanes_of(m, m.order[first] / kWarp) : m.count;
}

/// Lets a warp past an operation that all of its lanes wait at. True where there was one.
bool release_warp(Machine& m, unsigned warp) {
  const unsigned lanes = lanes_of(m, warp);
  if (m.warps[warp].waiting != lanes) return false;
  std::fill_n(m.states.begin() + warp * kWarp, lanes, State::kReady);
  count_of(m, State::kAtExchange) -= lanes;
  count_of(m, State::kReady) += lanes;
  m.warps[warp].waiting = 0;
  ++m.warps[warp].exchanges;
  return true;
}

bool release_warps(Machine& m) {
  bool released = false;
  if (count_of(m, State::kAtExchange) == 0) return released;
  for (unsigned warp = 0; warp * kWarp < m.count; ++warp) released = release_warp(m, warp) || released;
  return released;
}

bool release_block(Machine& m) {
  if (count_of(m, State::kAtBarrier) != m.count) return false;
  std::fill(m.states.begin(), m.states.end(), State::kReady);
  count_of(m, State::kAtBarrier) = 0;
  count_of(m, State::kReady) = m.count;
  return true;
}

/// Where no thread of the stretch can go on: the stretch again, the next, or the first. False where nothing can go on any more.
bool next_stretch(Machine& m) {
  if (warps_run_apart(m) && release_warp(m, m.order[m.stretch] / kWarp)) {
    begin_stretch(m, m.stretch);
  } else if (m.stretch_end < m.count) {
    begin_stretch(m, m.stretch_end);
  } else {
    if (!release_warps(m) && !release_block(m)) return false;
    if (m.launches % 4 == 2) order_threads(m);  // otherwise than before
    begin_stretch(m, 0);
  }
  return true;
}

/// Makes the next thread that can go on the current one.
bool choose_thread(Machine& m) {
  do {
    while (m.next < m.stretch_end) {
      const unsigned thread = m.order[m.next++];
      if (m.states[thread] != State::kReady) continue;
      m.current = thread;
      built.thread = m.places[thread];
      return true;
    }
  } while (next_stretch(m));
  return false;
}

void run_threads();

/// Goes on with the current thread, on its stack or on one that is free. The first time on a stack swaps contexts; later ones jump,
/// since swapping makes a system call, which took four fifths of the tests' time.
[[noreturn]] void go_on(Machine& m) {
  Stack*& stack = m.stack_of[m.current];
  if (stack == nullptr) {
    if (m.free_stacks.empty()) {
      m.stacks.push_back(std::make_unique<Stack>());
      m.free_stacks.push_back(m.stacks.back().get());
    }
    stack = m.free_stacks.back();
    stack->taken = true;
    m.free_stacks.pop_back();
  }
  if (stack->begun) __builtin_longjmp(stack->place.data(), 1);
  stack->begun = true;
  ucontext_t context{};
  getcontext(&context);
  context.uc_stack.ss_sp = stack->bytes.get();
  context.uc_stack.ss_size = kStack;
  context.uc_link = nullptr;
  makecontext(&context, run_threads, 0);
  setcontext(&context);
  std::abort();  // never reached
}

[[noreturn]] void return_to_launcher(Machine& m) {
  __builtin_longjmp(m.launcher.data(), 1);
}

/// Leaves this stack until its thread, or a new one, goes on. The jump to one that has begun is here, where no call is left open: calls
/// and returns that do not pair spoil the processor's guesses of where returns lead, which took a quarter of the tests' time.
[[gnu::noinline]] void leave(Machine& m, Stack& stack, bool chosen) {
  if (__builtin_setjmp(stack.place.data()) != 0) return;
  if (!chosen) return_to_launcher(m);
  Stack* const next = m.stack_of[m.current];
  if (next != nullptr && next->begun) __builtin_longjmp(next->place.data(), 1);
  go_on(m);
}

/// What a stack does: threads from their beginning to their end.
void run_threads() {
  for (;;) {
    Machine& m = machine();
    (*m.body)();
    Stack* const stack = std::exchange(m.stack_of[m.current], nullptr);
    set_state(m, m.current, State::kDone);
    const bool chosen = choose_thread(m);
    if (chosen && m.stack_of[m.current] == nullptr) {
      m.stack_of[m.current] = stack;
      continue;
    }
    stack->taken = false;
    m.free_stacks.push_back(stack);
    leave(m, *stack, chosen);
  }
}

/// The current thread waits; others go on.
void wait(State state) {
  Machine& m = machine();
  Stack* const stack = m.stack_of[m.current];
  set_state(m, m.current, state);
  const bool chosen = choose_thread(m);
  if (!chosen || m.stack_of[m.current] != stack) leave(m, *stack, chosen);
}

[[gnu::noinline]] void enter_block(Machine& m) {
  if (__builtin_setjmp(m.launcher.data()) == 0) go_on(m);
}

/// Stacks whose threads never return, as they were stopped or hang, are begun anew.
void free_stacks(Machine& m) {
  m.free_stacks.clear();
  for (const auto& stack : m.stacks) {
    stack->begun = stack->begun && !stack->taken;
    stack->taken = false;
    m.free_stacks.push_back(stack.get());
  }
  m.stack_of.assign(m.count, nullptr);
}

std::string describe_hang(Machine& m) {
  return fmt::format("{} threads wait at a barrier, {} at a warp operation and {} have returned",
                     count_of(m, State::kAtBarrier), count_of(m, State::kAtExchange),
                     count_of(m, State::kDone));
}

void run_block(Machine& m) {
  // Whatever was there before means nothing: as f32 or bf16, NaN.
  std::fill(m.shared.begin(), m.shared.end(), std::byte{0xff});
  m.states.assign(m.count, State::kReady);
  m.in_state = {};
  count_of(m, State::kReady) = m.count;
  for (Warp& warp : m.warps) warp.waiting = warp.exchanges = 0;
  begin_stretch(m, 0);
  choose_thread(m);
  enter_block(m);
  WAN_CHECK(m.failure.empty(), kDevice, "[cuda emulation] {}, in thread {} of block {}, {}", m.failure,
            m.current, built.block.x, built.block.y);
  WAN_CHECK(count_of(m, State::kDone) == m.count, kDevice, "[cuda emulation] block {}, {} hangs: {}",
            built.block.x, built.block.y, describe_hang(m));
}

void place_threads(Machine& m, const dim3& block) {
  m.places.resize(m.count);
  for (unsigned t = 0; t < m.count; ++t)
    m.places[t] = {t % block.x, t / block.x % block.y, t / block.x / block.y};
}

}  // namespace

void run_grid(const Grid& grid, const std::function<void()>& body) {
  Machine& m = machine();
  m.count = grid.block.x * grid.block.y * grid.block.z;
  WAN_CHECK(m.count > 0 && m.count <= kMostThreads, kDevice, "[cuda emulation] a block of {} threads",
            m.count);
  WAN_CHECK(grid.shared_bytes <= kMostShared, kDevice, "[cuda emulation] {} bytes of shared memory",
            grid.shared_bytes);
  WAN_CHECK(grid.grid.y <= 65535 && grid.grid.z <= 65535, kDevice,
            "[cuda emulation] a grid of {} x {} x {} blocks", grid.grid.x, grid.grid.y, grid.grid.z);
  ++m.launches;
  m.body = &body;
  m.failure.clear();
  m.shared.resize(grid.shared_bytes);
  m.warps.resize((m.count + kWarp - 1) / kWarp);
  free_stacks(m);
  place_threads(m, grid.block);
  order_threads(m);
  built.block_size = grid.block;
  built.grid_size = grid.grid;
  for (unsigned z = 0; z < grid.grid.z; ++z)
    for (unsigned y = 0; y < grid.grid.y; ++y)
      for (unsigned x = 0; x < grid.grid.x; ++x) {
        built.block = {x, y, z};
        run_block(m);
      }
}

void block_barrier() {
  wait(State::kAtBarrier);
}

unsigned lane() {
  return machine().current % kWarp;
}

std::uint32_t warp_exchange(unsigned mask, std::uint32_t value, unsigned source) {
  if (mask != 0xffffffffu) stop("a warp operation with some lanes only");
  Machine& m = machine();
  Warp& warp = m.warps[m.current / kWarp];
  if (source >= lanes_of(m, m.current / kWarp)) stop("a value from a lane that the block does not have");
  auto& values = warp.values[warp.exchanges % 2];
  values[m.current % kWarp] = value;
  ++warp.waiting;
  wait(State::kAtExchange);
  return values[source];
}

std::byte* dynamic_shared_memory() {
  return machine().shared.data();
}

void stop(const char* why) {
  machine().failure = why;
  return_to_launcher(machine());
}

}  // namespace wan::cuda_emulation
