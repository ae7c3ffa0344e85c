// CurrentM: the only way the runtime reads thread-local state.
//
// A goroutine may park on one thread and resume on another, within one function. Compilers do not
// know that: they keep the address of a thread_local across the call (measured with g++ 12 and
// clang at -O2, DESIGN.md "Thread-local state"). So each read is a volatile asm that computes the
// address anew. The model is initial-exec: it is right in executables, static-pie and shared
// libraries.
#ifndef PLIMSOLL_RUNTIME_SCHED_TLS_H_
#define PLIMSOLL_RUNTIME_SCHED_TLS_H_

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
};

}  // namespace plimsoll::sched

extern "C" {
// The M of this thread; null on a thread that is not the runtime's.
extern thread_local plimsoll::sched::M* plimsoll_tls_m __attribute__((tls_model("initial-exec")));
// The proxy goroutine of a foreign thread; null until it first parks.
extern thread_local plimsoll::sched::G* plimsoll_tls_proxy
    __attribute__((tls_model("initial-exec")));
}

#if defined(__x86_64__)
#define PLIMSOLL_READ_TLS(type, variable)   \
  ({                                        \
    type* value_;                           \
    asm volatile("movq " #variable          \
                 "@gottpoff(%%rip), %0\n\t" \
                 "movq %%fs:(%0), %0"       \
                 : "=r"(value_));           \
    value_;                                 \
  })
#elif defined(__aarch64__)
#define PLIMSOLL_READ_TLS(type, variable)         \
  ({                                              \
    type* value_;                                 \
    unsigned long offset_;                        \
    asm volatile(                                 \
        "mrs %0, tpidr_el0\n\t"                   \
        "adrp %1, :gottprel:" #variable           \
        "\n\t"                                    \
        "ldr %1, [%1, #:gottprel_lo12:" #variable \
        "]\n\t"                                   \
        "ldr %0, [%0, %1]"                        \
        : "=&r"(value_), "=&r"(offset_));         \
    value_;                                       \
  })
#endif

namespace plimsoll::sched {

inline M* CurrentM() { return PLIMSOLL_READ_TLS(M, plimsoll_tls_m); }
// M is known to the scheduler alone; MHead is where it begins (m.h asserts it).
inline MHead* CurrentMHead() { return reinterpret_cast<MHead*>(CurrentM()); }
inline G* CurrentProxy() { return PLIMSOLL_READ_TLS(G, plimsoll_tls_proxy); }

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_TLS_H_
