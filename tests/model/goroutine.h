// Goroutines under exploration, for the product's primitives that park.
//
//   Goroutine("sender", [=] { ch->Send<8>(&value); });
//
// A goroutine is a thread of the explorer's. When it parks, its commit runs beside it on a thread
// of its own, "its M": as in the product, where the next goroutine on that M runs the commit while
// a waker may have this one running again elsewhere. A second Ready for one Park fails, and so does
// a park that nobody ends.
//
// Time:     NowNanos() is a clock that stands still, or moves on by 2 ms at each reading in one
//           execution and not in another (TimePasses). A deadline of ParkUntil may pass at any
//           moment after the park, or never.
#ifndef PLIMSOLL_TESTS_MODEL_GOROUTINE_H_
#define PLIMSOLL_TESTS_MODEL_GOROUTINE_H_

#include <functional>
#include <new>

namespace plimsoll::model {

// `timed`: it calls ParkUntil, and so has a timer. `may_stay`: nobody need ever make it ready.
void Goroutine(const char* name, std::function<void()> body, bool timed = false,
               bool may_stay = false);

// In setup: from here on the clock moves, or not, by choice.
void TimePasses(bool passes);

// What the product's operator new becomes: memory of the execution.
void* OperatorNew(size_t bytes, std::align_val_t align);
inline void OperatorDelete(void*, std::align_val_t) {}

}  // namespace plimsoll::model

#endif  // PLIMSOLL_TESTS_MODEL_GOROUTINE_H_
