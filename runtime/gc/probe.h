// The probe looks at every gc::Ptr as it is made and assigned to, in builds without NDEBUG: is it
// where the collector will find it?
//
//   fatal error: gc: a gc::Ptr at word 3 of a 64-byte Node is not in its GC_FIELDS
//   fatal error: gc: a gc::Ptr at 0x… is in memory that the collector does not scan: use gc::Root
//
// A Ptr may be on a goroutine's stack, in a mapped word of a collected object, in a traced type, or
// in memory that was registered as a root.
#ifndef PLIMSOLL_RUNTIME_GC_PROBE_H_
#define PLIMSOLL_RUNTIME_GC_PROBE_H_

namespace plimsoll::gc::internal {

#ifdef NDEBUG
inline constexpr bool kProbe = false;
#else
inline constexpr bool kProbe = true;
#endif

// Ends the process when a Ptr at `self` would be missed.
void ProbePtr(const void* self);

// Ends the process when `target`, which a Ptr is to hold, is neither null nor in the collected
// heap.
void ProbeTarget(const void* target);

// Ends the process when the caller may not allocate: in a BlockingCall, or on a foreign thread.
void ProbeMutator();

// Ends the process when a Root is in a collected object: it would keep itself alive.
void ProbeRoot(const void* self);

}  // namespace plimsoll::gc::internal

#endif  // PLIMSOLL_RUNTIME_GC_PROBE_H_
