// The collector: finds what is reachable, and frees the rest.
//
//   gc::Start(world, {.gogc = 100});         // the wiring, once, before anything is collected
//   gc::Collect();                           // a full cycle, now
//   gc::Stats s = gc::GetStats();
//
// When:     a cycle runs when as much was allocated since the last one as GOGC percent of what was
//           live then (at least 4 MiB times GOGC / 100), after two minutes without one while
//           goroutines run, and on Collect().
// Limit:    what the world's HeapLimit() leaves: cycles then come sooner, also with GOGC=off; but
//           never sooner than after a twentieth of what is live was allocated. A heap that is over
//           its limit with everything live works on, and the limit yields.
// Pause:    the world is stopped twice in a cycle: to scan stacks and roots, about a nanosecond for
//           each byte of them, and to end it. Marking and sweeping are done while the world runs.
//           Who allocates faster than is marked marks too (an assist), about 64 KiB at a time.
//           With `beside` off the world is stopped for the whole of marking.
// Threads:  Collect from any goroutine, not within a BlockingCall; two at once share what they
//           can: each returns after a cycle that began after its call. On a thread that is not
//           attached it ends the process with a text.
// Memory:   none of malloc's within a cycle.
#ifndef PLIMSOLL_RUNTIME_GC_COLLECTOR_H_
#define PLIMSOLL_RUNTIME_GC_COLLECTOR_H_

#include <cstddef>
#include <cstdint>

#include "plimsoll/runtime/gc/pressure.h"
#include "plimsoll/runtime/gc/world.h"

namespace plimsoll::gc {

struct Options {
  int gogc = 100;          // percent; below 0: no cycle but by Collect() and by the limit
  bool trace = false;      // a line for each cycle, as Go's gctrace=1
  bool checkmark = false;  // verify.h
  bool verify = false;
  const char* fault = nullptr;   // fault.h
  bool beside = true;            // marks beside the program
  size_t step_bytes = 64 << 10;  // so much is marked at a time there
  int markers = 0;               // at once; 0: as many as there are Ps, at most 8
  // A heap of less is marked by one: before a helper has woken up.
  uint64_t share_from = 1 << 20;
};

// Joins the collector to its world. Once; the world is for ever.
void Start(World& world, const Options& options);

// One whole cycle.
void Collect();

// A cycle, if the last one ended `ns` ago or longer and GOGC is not off. True: there was one. What
// died since the last cycle of a service that allocates little goes in the end, its cleanups run.
// The runtime asks once a second while goroutines run, with kPeriodNs (Go's forcegcperiod).
inline constexpr int64_t kPeriodNs = int64_t{120} * 1'000'000'000;
bool CollectIfOld(int64_t ns);

// Asks the world's HeapLimit() anew: it has changed. On a goroutine it begins a cycle where by the
// new one that is due, or where the heap's spans are beyond it.
void LimitChanged();

// Asks for it anew in between cycles: what else the process has in memory has changed. It begins no
// cycle; where one is due by it the next allocation does. The runtime asks once a second while
// goroutines run and there is a limit.
void MeasureLimit();

// Changes GOGC; returns what it was.
int SetGoGc(int percent);

// Tells of `change` bytes of memory outside the heap (malloc's, a mapping, a GPU's) that collected
// objects hold, and that goes when they do: more when it is taken, less when it is given back, by a
// destructor or a cleanup as a rule. It counts as live memory and as allocation do: a cycle comes
// by GOGC percent of both. The memory limit is measured, and sees it anyway.
// Threads: any; on a goroutine it may begin a cycle, or mark, as gc::make does.
// Misuse:  less than nothing in all, or 2^63 bytes, is the end of the process.
void external_bytes(int64_t change);

struct Stats {
  uint64_t cycles = 0;
  uint64_t forced = 0;      // of them by Collect()
  uint64_t live_bytes = 0;  // after the last cycle
  uint64_t live_objects = 0;
  uint64_t heap_bytes = 0;       // live, and allocated since
  uint64_t goal_bytes = 0;       // heap_bytes at which the next cycle begins
  uint64_t limit_bytes = 0;      // HeapLimit() as last asked for; UINT64_MAX: none
  uint64_t allocated_bytes = 0;  // ever
  uint64_t span_bytes = 0;       // of memory, objects' and free ones'
  uint64_t roots = 0;            // Root objects
  int64_t stopping_ns = 0;       // to stop the world: the last cycle's, and the longest
  int64_t max_stopping_ns = 0;
  int64_t stopped_ns = 0;  // from stopped to started
  int64_t max_stopped_ns = 0;
  int64_t total_stopped_ns = 0;
  // Marking beside the program: in all, by goroutines of the collector in their share of the CPUs,
  // in time that nobody wanted, and by those who allocate.
  int64_t background_ns = 0;
  int64_t idle_ns = 0;
  int64_t assist_ns = 0;
  uint64_t restarts = 0;                // ends that found more to mark
  Pressure pressure = Pressure::kNone;  // as the last cycle found it
  uint64_t external_bytes = 0;          // as the program has told
  // Weak pointers, cleanups and finalized objects (weak.h, cleanup.h, finalized.h):
  uint64_t weak = 0;         // addresses that a Weak was made of, and whose object is there
  uint64_t cleanups = 0;     // that wait for their object to go
  uint64_t finalized = 0;    // objects whose destructor has not been due yet
  uint64_t queued = 0;       // cleanups and destructors that are due, or running
  uint64_t run = 0;          // that have run, ever
  uint64_t resurrected = 0;  // objects that were reachable after their destructor, ever
};
Stats GetStats();

// The pauses of the last cycles, newest first; two of each that marked beside the program, or more
// where the end was tried again. At most `n`, and 1,024. Returns how many.
struct Pause {
  int64_t stopping_ns = 0;  // from the request to the last mutator's stop: some still ran
  int64_t stopped_ns = 0;   // from there to the start: none ran
};
size_t RecentPauses(Pause* pauses, size_t n);

// The compiler keeps `p`, and with it what it points to, up to here: from a stack a pointer is gone
// after its last use, also where the object's destructor or a cleanup ends what is still in use.
inline void keep_alive(const void* p) { asm volatile("" : : "r"(p) : "memory"); }

// Frees the object that starts at `p`, now, instead of in the next cycle: what was large and for a
// moment. The caller knows that nothing points to it any more, on any stack or in any object. True:
// it is free. False, and nothing happened: a mark is running, or the object has Weak pointers,
// cleanups or a destructor, or its memory is just being swept; the next cycle does it. Null: false.
// Threads: goroutines, not within a BlockingCall.
// Misuse:  what is no collected object, or is within one, or was freed: the end of the process. A
//          pointer that is left: in an object it is found by PLIMSOLL_DEBUG=verify=1 in the next
//          cycle, in a Root or Global here, with verify=1; on a stack by ASan.
bool free_now(const void* p);

namespace internal {

// What is done before the process ends for lack of memory: pressure is told, a whole cycle.
void LastResort();

// The world that Start() joined; without one the process ends.
World& JoinedWorld();

}  // namespace internal

}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_COLLECTOR_H_
