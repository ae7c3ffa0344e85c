// The two futex calls, private to the process, as raw system calls. errno is kept.
//
// Source: futex(2), Linux man-pages.
#ifndef PLIMSOLL_ALLOC_BASE_FUTEX_H_
#define PLIMSOLL_ALLOC_BASE_FUTEX_H_

#include <atomic>
#include <cstdint>

namespace plimsoll::base {

// Blocks the thread while `word` holds `expected`, until woken, a signal, or `timeout_ns` (< 0:
// none) of CLOCK_MONOTONIC has passed. May return for no reason: callers look again.
// Returns false only when the time ran out.
bool FutexWait(std::atomic<uint32_t>& word, uint32_t expected, int64_t timeout_ns = -1);

// Wakes up to `count` threads that wait on `word`; returns how many.
int FutexWake(std::atomic<uint32_t>& word, int count);

}  // namespace plimsoll::base

#endif  // PLIMSOLL_ALLOC_BASE_FUTEX_H_
