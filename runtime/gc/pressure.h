// Pressure tells a program that its heap nears the memory limit, while there is time to let go.
//
//   gc::PressureListener shrink([&](gc::Pressure p) {
//     cache.Shrink(p == gc::Pressure::kCritical ? 0.1 : 0.5);       // and shed load
//   });
//
// When:      after each cycle that leaves less room than it should, until one does not, which is
//            told once, by kNone. At kCritical the limit yields: the collector does not take more
//            of the CPUs than a cycle for each twentieth of what is live, whatever the limit says.
// Where:     on a goroutine of the collector's: it may block, allocate and take locks. No two calls
//            at once: what cycles find while one runs is one more, with the worst of it.
// Lifetime:  a destroyed listener is not called any more; a call that runs goes on.
// Throwing:  ends the process, as an uncaught panic does.
// No memory: before gc::make ends the process it begins the calls with kCritical, and runs a whole
//            cycle. It does not wait for them: they may want a lock that its caller holds.
// Threads:   made and destroyed on any.
#ifndef PLIMSOLL_RUNTIME_GC_PRESSURE_H_
#define PLIMSOLL_RUNTIME_GC_PRESSURE_H_

#include <cstdint>
#include <functional>
#include <memory>

namespace plimsoll::gc {

enum class Pressure : uint8_t {
  kNone,
  kHigh,      // the limit leaves less than a tenth of what is live until the next cycle
  kCritical,  // less than a twentieth, so the limit yields; or there is no memory
};

// Calls a function about pressure for as long as it lives.
class PressureListener {
 public:
  explicit PressureListener(std::function<void(Pressure)> f);
  ~PressureListener();
  PressureListener(const PressureListener&) = delete;
  PressureListener& operator=(const PressureListener&) = delete;

 private:
  std::shared_ptr<std::function<void(Pressure)>> f_;
};

namespace internal {

// What a cycle has found. True: TellPressure is to be run, on a goroutine.
bool NotePressure(Pressure p);
void TellPressure();
// It was not: there was no goroutine for it.
void PressureUntold();

}  // namespace internal
}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_PRESSURE_H_
