// What a program under exploration uses in place of std::atomic, of plain shared data and of locks.
//
//   atomic<T>      std::atomic's operations; T is trivially copyable and at most 8 bytes
//   Var<T>         plain data: a race on it fails the execution
//   Lock           blocks; releases and acquires as a mutex does
//   Gate           Wait until a word satisfies a condition: a futex, a park
//
// Each takes the place in the source that uses it, for the trace.
#ifndef PLIMSOLL_TESTS_MODEL_ATOMIC_H_
#define PLIMSOLL_TESTS_MODEL_ATOMIC_H_

#include <atomic>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "plimsoll/tests/model/explore.h"

namespace plimsoll::model {

namespace internal {

using Where = std::source_location;

int NewLocation(uint64_t value, const void* address);
void EndLocation(int location);
uint64_t Load(int location, std::memory_order order, const Where& where);
void Store(int location, uint64_t value, std::memory_order order, const Where& where);

// What a read-modify-write does: the new value, or no change.
struct Modify {
  enum Kind { kExchange, kCompare, kAdd, kAnd, kOr } kind;
  uint64_t operand;
  uint64_t expected;
  uint64_t mask;  // of the value's bits
};
// Returns the old value; *done tells whether it was replaced.
uint64_t ReadModifyWrite(int location, const Modify& modify, std::memory_order order,
                         std::memory_order failure, bool* done, const Where& where);
void Fence(std::memory_order order, const Where& where);
// Blocks until condition(latest value); then acquires it. `stays`: may wait for ever.
uint64_t WaitUntil(int location, bool (*condition)(uint64_t value, uint64_t arg), uint64_t arg,
                   bool stays, const Where& where);
// Blocks until what the thread loaded last has changed.
void Relax(const Where& where);
void LockOp(int location, const Where& where);
void UnlockOp(int location, const Where& where);
bool IsHeld(int location);

struct VarState {
  int id;
};
int NewVar(const void* address);
void VarRead(int var, const Where& where);
void VarWrite(int var, const Where& where);

template <typename T>
uint64_t ToWord(T value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  uint64_t word = 0;
  memcpy(&word, &value, sizeof(T));
  return word;
}
template <typename T>
T FromWord(uint64_t word) {
  T value;
  memcpy(&value, &word, sizeof(T));
  return value;
}
template <typename T>
constexpr uint64_t kMask = sizeof(T) == 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * sizeof(T))) - 1;

constexpr std::memory_order OnFailure(std::memory_order order) {
  return order == std::memory_order_acq_rel   ? std::memory_order_acquire
         : order == std::memory_order_release ? std::memory_order_relaxed
                                              : order;
}

}  // namespace internal

template <typename T>
class atomic {
  using Where = std::source_location;
  using Order = std::memory_order;
  static constexpr Order kSeqCst = std::memory_order_seq_cst;

 public:
  atomic() : atomic(T{}) {}
  atomic(T value)  // NOLINT: as std::atomic's
      : location_(internal::NewLocation(internal::ToWord(value), this)) {}
  ~atomic() { internal::EndLocation(location_); }
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;

  T load(Order order = kSeqCst, Where where = Where::current()) const {
    return internal::FromWord<T>(internal::Load(location_, order, where));
  }
  void store(T value, Order order = kSeqCst, Where where = Where::current()) {
    internal::Store(location_, internal::ToWord(value), order, where);
  }
  T exchange(T value, Order order = kSeqCst, Where where = Where::current()) {
    return Apply({internal::Modify::kExchange, internal::ToWord(value), 0, internal::kMask<T>},
                 order, where);
  }
  bool compare_exchange_strong(T& expected, T desired, Order order, Order failure,
                               Where where = Where::current()) {
    bool done;
    const uint64_t old =
        internal::ReadModifyWrite(location_,
                                  {internal::Modify::kCompare, internal::ToWord(desired),
                                   internal::ToWord(expected), internal::kMask<T>},
                                  order, failure, &done, where);
    if (!done) expected = internal::FromWord<T>(old);
    return done;
  }
  bool compare_exchange_strong(T& expected, T desired, Order order = kSeqCst,
                               Where where = Where::current()) {
    return compare_exchange_strong(expected, desired, order, internal::OnFailure(order), where);
  }
  bool compare_exchange_weak(T& expected, T desired, Order order, Order failure,
                             Where where = Where::current()) {
    return compare_exchange_strong(expected, desired, order, failure, where);
  }
  bool compare_exchange_weak(T& expected, T desired, Order order = kSeqCst,
                             Where where = Where::current()) {
    return compare_exchange_strong(expected, desired, order, internal::OnFailure(order), where);
  }
  T fetch_add(T by, Order order = kSeqCst, Where where = Where::current()) {
    return Apply({internal::Modify::kAdd, internal::ToWord(by), 0, internal::kMask<T>}, order,
                 where);
  }
  T fetch_sub(T by, Order order = kSeqCst, Where where = Where::current()) {
    return Apply(
        {internal::Modify::kAdd, uint64_t{0} - internal::ToWord(by), 0, internal::kMask<T>}, order,
        where);
  }
  T fetch_or(T bits, Order order = kSeqCst, Where where = Where::current()) {
    return Apply({internal::Modify::kOr, internal::ToWord(bits), 0, internal::kMask<T>}, order,
                 where);
  }
  T fetch_and(T bits, Order order = kSeqCst, Where where = Where::current()) {
    return Apply({internal::Modify::kAnd, internal::ToWord(bits), 0, internal::kMask<T>}, order,
                 where);
  }

  // Blocks until the value is one of those that `condition` wants, and acquires it.
  T WaitUntil(bool (*condition)(uint64_t value, uint64_t arg), uint64_t arg = 0, bool stays = false,
              Where where = Where::current()) {
    return internal::FromWord<T>(internal::WaitUntil(location_, condition, arg, stays, where));
  }
  T WaitWhile(T value, bool stays = false, Where where = Where::current()) {
    return WaitUntil([](uint64_t now, uint64_t arg) { return now != arg; }, internal::ToWord(value),
                     stays, where);
  }

 private:
  T Apply(const internal::Modify& modify, Order order, const Where& where) {
    bool done;
    return internal::FromWord<T>(internal::ReadModifyWrite(
        location_, modify, order, internal::OnFailure(order), &done, where));
  }

  int location_;
};

inline void atomic_thread_fence(std::memory_order order,
                                std::source_location where = std::source_location::current()) {
  internal::Fence(order, where);
}
inline void atomic_signal_fence(std::memory_order) {}

template <typename T>
class Var {
  using Where = std::source_location;

 public:
  Var() : Var(T{}) {}
  explicit Var(T value) : value_(value), id_(internal::NewVar(this)) {}
  T Get(Where where = Where::current()) const {
    internal::VarRead(id_, where);
    return value_;
  }
  void Set(T value, Where where = Where::current()) {
    internal::VarWrite(id_, where);
    value_ = value;
  }

 private:
  T value_;
  int id_;
};

class Lock {
  using Where = std::source_location;

 public:
  Lock() : location_(internal::NewLocation(0, this)) {}
  ~Lock() { internal::EndLocation(location_); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  void lock(Where where = Where::current()) { internal::LockOp(location_, where); }
  void unlock(Where where = Where::current()) { internal::UnlockOp(location_, where); }
  bool held() const { return internal::IsHeld(location_); }

 private:
  int location_;
};

// In a loop that waits for another thread: goes on when what was loaded last has changed.
inline void Relax(std::source_location where = std::source_location::current()) {
  internal::Relax(where);
}

}  // namespace plimsoll::model

#endif  // PLIMSOLL_TESTS_MODEL_ATOMIC_H_
