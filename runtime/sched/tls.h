// CurrentM: the only way the runtime reads thread-local state.
//
// A goroutine may park on one thread and resume on another, within one function. Compilers do not
// know that: they keep the address of a thread_local across the call (measured with g++ 12 and
// clang at -O2, DESIGN.md "Thread-local state"). So each read is a volatile asm that computes the
// address anew. The model is initial-exec: it is right in executables, static-pie and shared
// libraries.
#ifndef PLIMSOLL_RUNTIME_SCHED_TLS_H_
#define PLIMSOLL_RUNTIME_SCHED_TLS_H_

#include <atomic>
#include <cstdint>

namespace plimsoll::sched {

struct G;
struct M;
struct P;

// What inlined code reads of an M: its first members, by inheritance.
struct MHead {
  G* g = nullptr;  // running now
  P* p = nullptr;  // null: idle, or in a blocking call
  int32_t no_preempt = 0;
  // Something is wanted of this M: it looks when no_preempt comes to zero. Set by anyone.
  std::atomic<uint32_t> attention{0};
};

}  // namespace plimsoll::sched

#if defined(__SANITIZE_THREAD__)
#define PLIMSOLL_TSAN_REGIONS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PLIMSOLL_TSAN_REGIONS 1
#endif
#endif
#ifdef PLIMSOLL_TSAN_REGIONS
extern "C" void __tsan_acquire(void*);
extern "C" void __tsan_release(void*);
#endif

extern "C" {
// The M of this thread; null on a thread that is not the runtime's.
extern thread_local plimsoll::sched::M* plimsoll_tls_m __attribute__((tls_model("initial-exec")));
// The proxy goroutine of a foreign thread; null until it first parks.
extern thread_local plimsoll::sched::G* plimsoll_tls_proxy
    __attribute__((tls_model("initial-exec")));
}

#if defined(__x86_64__)
#define PLIMSOLL_READ_TLS(type, variable)                  \
  ({                                                       \
    type* value_; /* NOLINT(bugprone-macro-parentheses) */ \
    asm volatile("movq " #variable                         \
                 "@gottpoff(%%rip), %0\n\t"                \
                 "movq %%fs:(%0), %0"                      \
                 : "=r"(value_));                          \
    value_;                                                \
  })
#elif defined(__aarch64__)
#define PLIMSOLL_READ_TLS(type, variable)                  \
  ({                                                       \
    type* value_; /* NOLINT(bugprone-macro-parentheses) */ \
    unsigned long offset_;                                 \
    asm volatile(                                          \
        "mrs %0, tpidr_el0\n\t"                            \
        "adrp %1, :gottprel:" #variable                    \
        "\n\t"                                             \
        "ldr %1, [%1, #:gottprel_lo12:" #variable          \
        "]\n\t"                                            \
        "ldr %0, [%0, %1]"                                 \
        : "=&r"(value_), "=&r"(offset_));                  \
    value_;                                                \
  })
#endif

namespace plimsoll::sched {

inline M* CurrentM() { return PLIMSOLL_READ_TLS(M, plimsoll_tls_m); }
// M is known to the scheduler alone; MHead is where it begins (m.h asserts it).
inline MHead* CurrentMHead() { return reinterpret_cast<MHead*>(CurrentM()); }

// A P's data are touched in no-preempt regions alone. TSan does not see the handler hand a P from
// one M to another, so the regions say it, and the handler for what was done outside of them.
// Always inlined: the handler is not instrumented, and calls nothing that is.
[[gnu::always_inline]] inline void TsanAcquireP([[maybe_unused]] P* p) {
#ifdef PLIMSOLL_TSAN_REGIONS
  if (p != nullptr) __tsan_acquire(p);
#endif
}
[[gnu::always_inline]] inline void TsanReleaseP([[maybe_unused]] P* p) {
#ifdef PLIMSOLL_TSAN_REGIONS
  if (p != nullptr) __tsan_release(p);
#endif
}

inline G* CurrentProxy() { return PLIMSOLL_READ_TLS(G, plimsoll_tls_proxy); }

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_TLS_H_
