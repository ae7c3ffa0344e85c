// Collected memory: how fast it is allocated and marked, and how long it makes others wait.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sync/wait_group.h"
#include "plimsoll/tools/bench/bench.h"
#include "plimsoll/tools/bench/gc_chains.h"

namespace plimsoll::bench {
namespace {

struct Tree {
  gc::Ptr<Tree> left, right;
  GC_FIELDS(Tree, left, right);
};

Tree* Make(int depth) {
  Tree* t = gc::make<Tree>();
  if (depth > 0) {
    t->left = Make(depth - 1);
    t->right = Make(depth - 1);
  }
  return t;
}

int64_t Count(const Tree* t) {
  return t->left == nullptr ? 1 : 1 + Count(t->left) + Count(t->right);
}

// How fast do trees of two-pointer nodes come and go, while a large one lives?
void BinTrees(const Args& args) {
  Stopwatch watch;
  const double cpu = CpuSeconds();
  const int n = static_cast<int>(args.n);
  int64_t total = (int64_t{1} << (n + 1)) + (int64_t{1} << (n + 2));
  (void)Count(Make(n + 1));
  gc::Root<Tree> lasting = Make(n);
  WaitGroup done;
  for (int depth = 4; depth <= n; depth += 4) {
    const int64_t trees = int64_t{1} << (n - depth + 4);
    total += trees << (depth + 1);
    constexpr int kSlices = 8;
    for (int slice = 0; slice < kSlices; ++slice) {
      done.Add(1);
      Go([&done, depth, trees] {
        for (int64_t i = 0; i < trees / kSlices; ++i) (void)Count(Make(depth));
        done.Done();
      });
    }
  }
  done.Wait();
  (void)Count(lasting);
  Report(args, total, watch.Seconds(),
         absl::StrFormat("cpu_s=%.2f rss_mb=%d", CpuSeconds() - cpu, StatusBytes("VmHWM:") >> 20));
}

double At(const std::vector<double>& sorted, size_t part, size_t of) {
  return sorted.empty() ? 0 : sorted[std::min(sorted.size() / of * part, sorted.size() - 1)];
}

// N MiB live in chains of eight 64-byte nodes; P mutators replace random chains until four times as
// much was allocated. What does it cost, and how long does one batch of 16 chains take at worst?
void GcHeap(const Args& args) {
  const int64_t slots = (args.n << 20) / kChainBytes;
  gc::Root<gc::Ptr<Node>> root = gc::make_array<gc::Ptr<Node>>(static_cast<size_t>(slots));
  for (int64_t i = 0; i < slots; ++i) root.get()[i] = Chain();
  gc::Collect();
  const uint64_t cycles = gc::GetStats().cycles;
  const double cpu = CpuSeconds();
  Stopwatch watch;
  const int64_t rounds = slots * 4 / args.procs;
  std::vector<std::vector<double>> batches(static_cast<size_t>(args.procs));
  WaitGroup done;
  for (int p = 0; p < args.procs; ++p) {
    done.Add(1);
    Go([&, p] {
      auto r = static_cast<uint64_t>(p) * 7919 + 12345;
      const int64_t low = slots / args.procs * p;
      const auto width = static_cast<uint64_t>(slots / args.procs);
      gc::Ptr<Node>* mine = root.get() + low;
      std::vector<double>& times = batches[static_cast<size_t>(p)];
      times.reserve(static_cast<size_t>(rounds / 16 + 1));
      double last = watch.Seconds();
      for (int64_t i = 1; i <= rounds; ++i) {
        mine[NextChain(r) % width] = Chain();
        if ((i & 15) == 0) {
          const double now = watch.Seconds();
          times.push_back((now - last) * 1e6);
          last = now;
        }
      }
      done.Done();
    });
  }
  done.Wait();
  const double seconds = watch.Seconds();
  const double used = CpuSeconds() - cpu;
  std::vector<double> all;
  for (const auto& b : batches) all.insert(all.end(), b.begin(), b.end());
  std::sort(all.begin(), all.end());
  const uint64_t ran = gc::GetStats().cycles - cycles;
  std::vector<gc::Pause> recent(std::min<uint64_t>(ran, 1024));
  recent.resize(gc::RecentPauses(recent.data(), recent.size()));
  std::vector<double> pauses;
  for (const gc::Pause& p : recent) {
    pauses.push_back(static_cast<double>(p.stopping_ns + p.stopped_ns));
  }
  std::sort(pauses.begin(), pauses.end());
  Report(
      args, rounds * 8 * args.procs, seconds,
      absl::StrFormat("cpu_s=%.2f gcs=%d pause_p99_us=%.0f pause_max_us=%.0f "
                      "batch128_p50_us=%.1f batch128_p999_us=%.0f batch128_max_us=%.0f rss_mb=%d",
                      used, ran, At(pauses, 99, 100) / 1e3,
                      pauses.empty() ? 0.0 : pauses.back() / 1e3, At(all, 1, 2), At(all, 999, 1000),
                      all.empty() ? 0.0 : all.back(), StatusBytes("VmHWM:") >> 20));
}

// What does an object without pointers cost, of which nobody keeps any? Each is written to, as the
// peers' are.
template <size_t kBytes>
void Allocate(const Args& args) {
  struct Bytes {
    char bytes[kBytes];
    GC_NOSCAN(Bytes);
  };
  Stopwatch watch;
  for (int64_t i = 0; i < args.n; ++i) {
    Bytes* volatile p = gc::make<Bytes>();
    p->bytes[0] = 1;
  }
  Report(args, args.n, watch.Seconds(), absl::StrFormat("rss_mb=%d", StatusBytes("VmHWM:") >> 20));
}

constexpr Bench kBenches[] = {
    {"bintrees", "binary trees of depth up to N, collected", BinTrees},
    {"gcheap", "N MiB live, of which random parts are replaced", GcHeap},
    {"malloc16", "N collected objects of 16 bytes, dropped at once", Allocate<16>},
    {"malloc64", "the same of 64 bytes", Allocate<64>},
    {"malloc256", "the same of 256 bytes", Allocate<256>},
    {"malloc4096", "the same of 4096 bytes", Allocate<4096>},
};

}  // namespace

std::span<const Bench> GcBenches() { return kBenches; }

}  // namespace plimsoll::bench
