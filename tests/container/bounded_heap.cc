// bounded_heap LIVE_MIB MIB [signal]: a program whose heap has little room to spare.
//
// LIVE_MIB of its heap are live, in chains of nodes with text of 64 bytes to 4 KiB each, while a
// goroutine for each P replaces random chains, and finds each as it was made. It ends when MIB were
// allocated, with `signal` after a SIGUSR1, and prints {"allocated": BYTES, "cycles": N, "live":
// BYTES, "spans": BYTES, "limit": BYTES, "critical": N}; the last is how often it was told that the
// limit yields. With `signal` it says "grown" when its heap is as large as it gets.

#include <signal.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/pressure.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace {

using namespace plimsoll;

constexpr int kSizes[] = {64, 256, 1024, 4096};
struct Node {
  gc::Ptr<Node> next;
  gc::Ptr<char> text;
  int64_t size = 0;
  uint64_t slot = 0;
  GC_FIELDS(Node, next, text);
};
constexpr int64_t kChainBytes = 64 + 256 + 1024 + 4096 + 4 * int64_t{sizeof(Node)};

Node* Chain(uint64_t slot) {
  Node* head = nullptr;
  for (const int size : kSizes) {
    Node* n = gc::make<Node>();
    n->text = gc::make_noscan<char>(static_cast<size_t>(size));
    std::memset(n->text, static_cast<int>(slot & 0x7F) + 1, static_cast<size_t>(size));
    n->size = size;
    n->slot = slot;
    n->next = head;
    head = n;
  }
  return head;
}

bool IsChain(const Node* n, uint64_t slot) {
  for (int i = 3; i >= 0; --i, n = n->next) {
    const auto mark = static_cast<char>((slot & 0x7F) + 1);
    if (n == nullptr || n->slot != slot || n->size != kSizes[i] || n->text.get()[0] != mark ||
        n->text.get()[n->size - 1] != mark) {
      return false;
    }
  }
  return n == nullptr;
}

uint64_t Next(uint64_t& r) {
  r ^= r << 13;
  r ^= r >> 7;
  r ^= r << 17;
  return r;
}

std::atomic<bool> counting{true};
static_assert(std::atomic<bool>::is_always_lock_free);

int Run(int64_t live_mib, int64_t mib) {
  std::atomic<uint64_t> critical{0};
  const gc::PressureListener listener([&](gc::Pressure p) {
    if (p == gc::Pressure::kCritical) critical.fetch_add(1);
  });
  const auto slots = static_cast<uint64_t>((live_mib << 20) / kChainBytes);
  gc::Root<gc::Ptr<Node>> all = gc::make_array<gc::Ptr<Node>>(slots);
  for (uint64_t i = 0; i < slots; ++i) all.get()[i] = Chain(i);
  const uint64_t need = static_cast<uint64_t>(mib) << 20;
  std::atomic<uint64_t> wrong{0};
  std::atomic<uint64_t> from{0};
  WaitGroup done;
  const int procs = GoMaxProcs();
  for (int p = 0; p < procs; ++p) {
    done.Add(1);
    Go([&, p] {
      uint64_t r = static_cast<uint64_t>(p) * 7919 + 12345;
      // Each has slots of its own, which nobody else reads or replaces.
      const auto mine = static_cast<uint64_t>(p), step = static_cast<uint64_t>(procs);
      bool said = p != 0 || counting.load();
      for (uint64_t now = 0; !counting.load() || now - from.load() < need;
           now = gc::GetStats().allocated_bytes) {
        if (!counting.load()) from.store(now);
        if (!said && now > uint64_t{3} * static_cast<uint64_t>(live_mib) << 20) {
          said = true;
          std::puts("grown");
          std::fflush(stdout);
        }
        for (int i = 0; i < 100; ++i) {
          const uint64_t at = Next(r) % (slots / step) * step + mine;
          if (!IsChain(all.get()[at], at)) wrong.fetch_add(1);
          all.get()[at] = Chain(at);
        }
      }
      done.Done();
    });
  }
  done.Wait();
  const gc::Stats s = gc::GetStats();
  std::printf(
      "{\"allocated\": %llu, \"cycles\": %llu, \"live\": %llu, \"spans\": %llu, "
      "\"limit\": %llu, \"critical\": %llu}\n",
      static_cast<unsigned long long>(s.allocated_bytes), static_cast<unsigned long long>(s.cycles),
      static_cast<unsigned long long>(s.live_bytes), static_cast<unsigned long long>(s.span_bytes),
      static_cast<unsigned long long>(s.limit_bytes),
      static_cast<unsigned long long>(critical.load()));
  if (wrong.load() == 0) return 0;
  std::fprintf(stderr, "bounded_heap: %llu chains were not as they were made\n",
               static_cast<unsigned long long>(wrong.load()));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  int64_t numbers[2] = {};
  bool good = argc == 3 || (argc == 4 && std::strcmp(argv[3], "signal") == 0);
  for (int i = 0; good && i < 2; ++i) {
    char* end;
    numbers[i] = std::strtoll(argv[i + 1], &end, 10);
    good = *end == '\0' && end != argv[i + 1] && numbers[i] > 0 && numbers[i] < 1'000'000;
  }
  if (!good) {
    std::fputs("bounded_heap LIVE_MIB MIB [signal]\n", stderr);
    return 64;
  }
  if (argc == 4) {
    counting.store(false);
    struct sigaction action = {};
    action.sa_handler = [](int) { counting.store(true); };
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    sigaction(SIGUSR1, &action, nullptr);
  }
  return Main(argc, argv, [&] { return Run(numbers[0], numbers[1]); });
}
