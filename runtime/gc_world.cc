#include "plimsoll/runtime/gc_world.h"

#include <fcntl.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/cache_slot.h"
#include "plimsoll/alloc/collectable.h"
#include "plimsoll/alloc/heap.h"
#include "plimsoll/alloc/stack_trace.h"
#include "plimsoll/runtime/gc/world.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/stop_world.h"
#include "plimsoll/runtime/sched/tls.h"
#include "plimsoll/runtime/sched/trace.h"
#include "plimsoll/runtime/sync/pool_shelves.h"

namespace plimsoll {
namespace {

void ScanBytes(gc::RangeSink& sink, const void* from, size_t bytes) {
  const auto lo = reinterpret_cast<uintptr_t>(from);
  sink.ScanInterrupted(lo, lo + bytes);
}

// The registers of a goroutine that waits in a handler.
void ScanContext(gc::RangeSink& sink, const void* ucontext, uintptr_t hi) {
  if (hi != 0) {
    ScanBytes(sink, ucontext, hi - reinterpret_cast<uintptr_t>(ucontext));
    return;
  }
  const auto* context = static_cast<const ucontext_t*>(ucontext);
  ScanBytes(sink, &context->uc_mcontext, sizeof context->uc_mcontext);
#if defined(__x86_64__)
  // The vector registers lie behind it, by pointer: 512 bytes of FXSAVE, and what XSAVE adds, whose
  // size the kernel leaves in bytes reserved for software (struct _fpx_sw_bytes).
  const auto* fp = reinterpret_cast<const char*>(context->uc_mcontext.fpregs);
  if (fp == nullptr) return;
  constexpr size_t kLegacy = 512;
  constexpr size_t kSoftware = 464;
  constexpr uint32_t kMagic = 0x46505853;  // FP_XSTATE_MAGIC1
  uint32_t magic, extended;
  std::memcpy(&magic, fp + kSoftware, sizeof magic);
  std::memcpy(&extended, fp + kSoftware + 4, sizeof extended);
  ScanBytes(sink, fp, magic == kMagic && extended >= kLegacy ? extended : kLegacy);
#endif
  // On arm64 they lie within uc_mcontext, in its reserved part.
}

// Sweeps for a part of a time slice. Among goroutines that use theirs up a sweeper has one turn in
// ten ms: what it does not do before the next cycle, who begins that one does at a stretch. False:
// nothing is left.
bool SweepForATurn() {
  constexpr int64_t kTurnNs = 1'000'000;
  const int64_t end = sched::NowNanos() + kTurnNs;
  do {
    if (!alloc::SweepSome(64)) return false;
  } while (sched::NowNanos() < end);
  return true;
}

constinit std::atomic<uint64_t> memory_limit{UINT64_MAX};
constinit std::atomic<double> cpu_quota{std::numeric_limits<double>::infinity()};
bool started = false;  // StartCollector was called

// Idle pages beyond the limit go back at once: they are charged to the container. On a goroutine;
// without a P, for the kernel takes 100 us for each MiB, and a stop of the world would wait.
void GiveBackOverLimit() {
  if (Heap::IsOverLimit()) BlockingCall([] { (void)Heap::ReleaseOverLimit(); });
}

// Anonymous memory of the process, in bytes; 0: unknown.
uint64_t AnonymousBytes() {
  // "size resident shared ...", in machine pages; shared is what has a file behind it.
  const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char text[128];
  const ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return 0;
  text[n] = '\0';
  unsigned long long size, resident, shared;
  if (std::sscanf(text, "%llu %llu %llu", &size, &resident, &shared) != 3) return 0;
  return (resident - std::min(resident, shared)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

class GoWorld final : public gc::World {
 public:
  void Stop(gc::StopFor why) override {
    sched::StopTheWorld(why == gc::StopFor::kStart   ? sched::StopReason::kGcStart
                        : why == gc::StopFor::kEnd   ? sched::StopReason::kGcEnd
                        : why == gc::StopFor::kWhole ? sched::StopReason::kGcCycle
                                                     : sched::StopReason::kOther);
  }
  void Start() override { sched::StartTheWorld(); }

  void Note(gc::Stage stage, uint64_t cycle) override {
    // A marker's turn is a third of what it waited for it; these make neither long.
    if (stage != gc::Stage::kEnded) sched::ShortSlices(stage == gc::Stage::kBegun);
    sched::TraceGc(stage == gc::Stage::kBegun    ? sched::TraceKind::kGcBegin
                   : stage == gc::Stage::kMarked ? sched::TraceKind::kGcMarked
                                                 : sched::TraceKind::kGcEnd,
                   cycle);
  }

  void ScanStacks(uintptr_t sp, gc::RangeSink& sink) override {
    // The collector's own frames hold nothing but what it works on.
    sched::ForEachG(
        [](const sched::GView& g, void* arg) {
          auto& to = *static_cast<gc::RangeSink*>(arg);
          const auto away = reinterpret_cast<uintptr_t>(g.away);
          const uintptr_t away_hi = away + g.away_words * sizeof(uintptr_t);
          if (g.ucontext != nullptr) {
            to.ScanInterrupted(g.sp, g.hi);
            to.ScanInterrupted(away, away_hi);
            ScanContext(to, g.ucontext, g.context_hi);
          } else {
            to.Scan(g.sp, g.hi);
            if (away != away_hi) to.Scan(away, away_hi);
          }
        },
        &sink, sp);
  }

  bool OnStack(const void* address) override {
    const auto at = reinterpret_cast<uintptr_t>(address);
    stack::Stack s;
    return (!sched::Stacks().FindGuard(at, &s) && at >= s.lo && at < s.hi) ||
           sched::OnAttachedStack(at);
  }

  void CheckMutator() override {
    const sched::MHead* m = sched::CurrentMHead();
    if (m == nullptr) {
      base::Fatal(
          "gc: collected memory is used on a thread that is not the runtime's: only "
          "gc::Root may be, unless it is attached");
    }
    // Its goroutine may be in the middle of an allocation.
    if (sched::OnAltStack(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)))) {
      base::Fatal("gc: collected memory is used in a signal handler");
    }
    if (m->p == nullptr) {
      base::Fatal(
          "gc: collected memory is used within a BlockingCall: carry a gc::Root in, and "
          "use it after");
    }
  }

  bool IsMutator() override {
    const sched::MHead* m = sched::CurrentMHead();
    return m != nullptr && m->p != nullptr;
  }

  void NeedCache() override {
    alloc::CollectedCache* cache = alloc::NewCollectedCache();
    if (cache == nullptr) base::Fatal("gc: no memory for a thread's cache");
    alloc::SetCurrentCollectedCache(cache);
  }

  void Yield() override { sched::Yield(); }

  bool Begin(void (*fn)()) override { return TryGo(fn); }

  bool GiveWay(bool over) override {
    if (!over) sched::BeginSlice();
    if (!over || !sched::OthersWait()) return false;
    sched::Yield();
    return true;
  }

  void AwaitShare(int64_t until_ns) override {
    sched::WakeClaim claim;
    (void)sched::ParkUntil(
        sched::WaitReason::kForceGcIdle, until_ns, claim, [](sched::G*, void*) { return true; },
        nullptr);
  }

  void AwaitWork() override {
    // Not by yielding: where nobody else is runnable that would take a CPU and its quota.
    constexpr int64_t kMomentNs = 50'000;
    AwaitShare(sched::NowNanos() + kMomentNs);
  }

  void Sweep() override {
    // Without one, allocation sweeps what it needs, and the next cycle the rest. One at a time: one
    // that has not had its turn yet sweeps what later cycles leave, too.
    static std::atomic<bool> sweeping{false};
    if (!sweeping.exchange(true, std::memory_order_seq_cst) && !TryGo([] {
          do {
            while (SweepForATurn()) sched::Yield();
            GiveBackOverLimit();
            sweeping.store(false, std::memory_order_seq_cst);
            // A cycle that ended in between found one sweeping.
          } while (alloc::SweepSome(64) && !sweeping.exchange(true, std::memory_order_seq_cst));
        })) {
      sweeping.store(false, std::memory_order_seq_cst);
    }
    // On a goroutine of its own: what a Pool destroys has destructors of the program's, which may
    // wait. One round at a time.
    static std::atomic<bool> ageing{false};
    if (ageing.exchange(true, std::memory_order_acq_rel)) return;
    if (!TryGo([] {
          AgePools();
          ageing.store(false, std::memory_order_release);
        })) {
      ageing.store(false, std::memory_order_release);
    }
  }

  bool BeginCleanups(void (*fn)()) override { return TryGo(fn, {.label = "gc cleanups"}); }

  bool StartHelper(void* (*fn)(void*)) override { return sched::StartOwnThread(fn); }

  uint64_t HeapLimit(uint64_t held) override {
    const uint64_t limit = memory_limit.load(std::memory_order_relaxed);
    static std::atomic<bool> told{false};  // the page heap, of one
    if (limit == UINT64_MAX) {
      if (told.exchange(false, std::memory_order_relaxed)) {
        Heap::SetMemoryLimit(ByteCount(UINT64_MAX));
      }
      return UINT64_MAX;
    }
    const uint64_t margin = std::min(limit / 8, MiB(16).value());
    const uint64_t anonymous = AnonymousBytes();
    // Pages of the heap that were never touched are held and not in memory: until they are, this is
    // too small by them.
    const uint64_t besides = anonymous > held ? anonymous - held : 0;
    const uint64_t heap = limit > margin + besides ? limit - margin - besides : 1;
    // Idle pages go back as others are taken, and what is beyond it when all is swept.
    told.store(true, std::memory_order_relaxed);
    Heap::SetMemoryLimit(ByteCount(heap));
    return heap;
  }

  int64_t NowNanos() override { return sched::NowNanos(); }
  int Procs() override { return sched::GetStats().procs; }
  double Cpus() override {
    return std::min<double>(Procs(), cpu_quota.load(std::memory_order_relaxed));
  }
};

}  // namespace

gc::Options CollectorOptions(const char* gogc, const base::DebugText& debug) {
  gc::Options options;
  if (gogc != nullptr && *gogc != '\0') {
    const std::string_view text = gogc;
    int percent = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), percent);
    if (text == "off") {
      options.gogc = -1;
    } else if (error == std::errc() && end == text.data() + text.size() && percent >= 0) {
      options.gogc = percent;
    } else {
      base::RawLog("plimsoll: GOGC=", base::Quoted{text},
                   " is neither a percentage nor off; taken as 100");
    }
  }
  options.trace = debug.Flag("gctrace");
  options.verify = debug.Flag("verify");
  options.beside = !debug.Flag("gcstoptheworld");
  options.checkmark = debug.Flag("checkmark");
  if (const std::optional<std::string_view> value = debug.Find("gcfault"); value.has_value()) {
    static char fault[32];  // for the life of the process, as the options are
    const size_t n = value->size() < sizeof fault ? value->size() : sizeof fault - 1;
    std::memcpy(fault, value->data(), n);
    fault[n] = '\0';
    options.fault = fault;
  }
  return options;
}

void SetCollectorMemoryLimit(uint64_t bytes) {
  memory_limit.store(bytes, std::memory_order_relaxed);
  if (!started) return;
  gc::LimitChanged();
  GiveBackOverLimit();
}

void SetCollectorCpuQuota(double cpus) { cpu_quota.store(cpus, std::memory_order_relaxed); }

void StartCollector(const gc::Options& options) {
  static constinit bool hooked = false;
  if (!hooked) {
    hooked = true;
    sched::SetThreadEndHook(alloc::LeaveCollectedCache);
    alloc::SetStackEndHook([](uintptr_t sp) {
      stack::Stack s;
      return !sched::Stacks().FindGuard(sp, &s) && sp >= s.lo && sp < s.hi ? s.hi : 0;
    });
    alloc::SetPreemptHooks({.off =
                                [] {
                                  if (sched::MHead* m = sched::CurrentMHead()) ++m->no_preempt;
                                  std::atomic_signal_fence(std::memory_order_seq_cst);
                                },
                            .on =
                                [] {
                                  std::atomic_signal_fence(std::memory_order_seq_cst);
                                  sched::MHead* m = sched::CurrentMHead();
                                  if (m != nullptr && --m->no_preempt == 0 &&
                                      m->attention.load(std::memory_order_relaxed) != 0) {
                                    sched::AtSafePoint();
                                  }
                                }});
  }
  static GoWorld world;
  gc::Start(world, options);
  started = true;
}

}  // namespace plimsoll
