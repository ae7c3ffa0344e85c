// A World is what the collector asks of a runtime: to stop, to show its stacks, to start again.
//
//   class GoWorld : public gc::World { ... };      // runtime/gc_world.cc: goroutines
//   class FakeWorld : public gc::World { ... };    // runtime/gc/testing: one thread, fake stacks
//   gc::Start(world, options);
//
// Stopped:   between Stop and Start no other mutator runs collected code: none allocates, and none
//            writes a collected object. One that was stopped in place was not within a no-preempt
//            region. The collector then takes no lock that a mutator may hold, and calls no malloc.
// Threads:   Stop, ScanStacks and Start are called by one mutator at a time, one after the other.
#ifndef PLIMSOLL_RUNTIME_GC_WORLD_H_
#define PLIMSOLL_RUNTIME_GC_WORLD_H_

#include <cstdint>

namespace plimsoll::gc {

// Takes ranges of memory in which any word may be a pointer.
class RangeSink {
 public:
  // Every aligned word of [lo, hi).
  virtual void Scan(uintptr_t lo, uintptr_t hi) = 0;

  // As Scan, of a mutator that was stopped in place, between any two instructions: it may have been
  // within a write barrier, and one of the words be the address of a slot that it is about to
  // overwrite (barrier.h).
  virtual void ScanInterrupted(uintptr_t lo, uintptr_t hi) { Scan(lo, hi); }

 protected:
  ~RangeSink() = default;
};

// What the world is stopped for: the start or the end of a mark beside the program, all of one, or
// a look at the heap.
enum class StopFor : uint8_t { kStart, kEnd, kWhole, kLook };

// The stages of a cycle. kMarked: nothing is grey any more, and the world is still stopped.
enum class Stage : uint8_t { kBegun, kMarked, kEnded };

class World {
 public:
  // Halts every mutator but the caller.
  virtual void Stop(StopFor why) = 0;
  virtual void Start() = 0;

  // Told of each stage as it comes, for whoever traces the program. By a mutator.
  virtual void Note(Stage stage, uint64_t cycle) = 0;

  // Shows the stack of every mutator; of those that were stopped in place their registers too, and
  // both by ScanInterrupted. Of the caller's own stack: from `sp` on, below which its registers
  // have been spilled.
  virtual void ScanStacks(uintptr_t sp, RangeSink& sink) = 0;

  // Whether `address` is on a mutator's stack, whoever's.
  virtual bool OnStack(const void* address) = 0;

  // Ends the process where the caller may not touch collected memory: it could not be stopped.
  virtual void CheckMutator() = 0;

  // Whether the caller may: false where CheckMutator would end the process.
  virtual bool IsMutator() = 0;

  // Gives the calling thread a CollectedCache (alloc/collectable.h).
  virtual void NeedCache() = 0;

  // Lets others run while another mutator's collection goes on.
  virtual void Yield() = 0;

  // Runs fn on a mutator of its own. False: there is none to be had.
  virtual bool Begin(void (*fn)()) = 0;

  // Called by such a one between two steps of marking: lets others run, if any wait, where its turn
  // is `over`; else its turn goes on, however long. True: somebody may have run.
  virtual bool GiveWay(bool over) = 0;

  // Called by such a one where the kernel gives fewer CPUs than there are Procs, and marking has
  // had its share of them: waits until then, or for less. Time that nobody uses is not free there:
  // it is taken from what the kernel gives until its period ends.
  virtual void AwaitShare(int64_t until_ns) = 0;

  // Called by one that found nothing to mark while others mark: waits a moment.
  virtual void AwaitWork() = 0;

  // There is sweeping to do: calls alloc::SweepSome from time to time until it answers false. What
  // is idle then, beyond the limit, may go back to the system.
  virtual void Sweep() = 0;

  // Runs fn, which calls functions of the program's (cleanups, destructors, listeners of pressure),
  // on a mutator that nobody waits for. False: there is none to be had.
  virtual bool BeginCleanups(void (*fn)()) = 0;

  // Makes a thread that runs fn for ever, is no mutator and is never stopped: it marks while the
  // world is. False: there is none to be had. Called while the world runs.
  virtual bool StartHelper(void* (*fn)(void*)) = 0;

  // How many bytes the heap should keep to now; UINT64_MAX: there is no limit. Asked once a cycle,
  // in LimitChanged() and in MeasureLimit(), while the world runs; `held` is what the heap holds,
  // in spans and idle pages.
  virtual uint64_t HeapLimit(uint64_t held) = 0;

  virtual int64_t NowNanos() = 0;
  virtual int Procs() = 0;
  // How many CPUs they may use: as many, or the kernel's quota where that is less.
  virtual double Cpus() = 0;

 protected:
  ~World() = default;
};

}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_WORLD_H_
