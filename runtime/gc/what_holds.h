// gc::WhatHolds tells why an object is still there: what holds it, what holds that, and so on to a
// root, a line each.
//
//   std::fputs(gc::WhatHolds(session).c_str(), stderr);
//
//     0x7f2a40012340 (Session, 64 bytes)
//       is in word 2 of 0x7f2a40012380 (Node, 64 bytes)
//       is in word 0 of 0x7f2a40013000 (Cache, 4096 bytes)
//       is in a gc::Root or gc::Global
//
// Which:   one way, a short one, of however many there are: by Roots, Globals and what waits in
//          channels, if there is such a way; else by a goroutine's stack; else by the caller's,
//          where `p` is at any rate. A word on a stack may be out of date.
// Names:   as GC_FIELDS and its like gave them. Words count 8 bytes, from the object's start.
// Cost:    the world is stopped for about 100 ns for each object that is reached before, with 40
//          bytes of memory for it; without that memory the process ends. For a debugger and an
//          admin's page, not for a loop.
// Threads: goroutines, not within a BlockingCall.
// Errors:  a text that says so, of what is no collected object, and of what nothing holds.
#ifndef PLIMSOLL_RUNTIME_GC_WHAT_HOLDS_H_
#define PLIMSOLL_RUNTIME_GC_WHAT_HOLDS_H_

#include <string>

namespace plimsoll::gc {

// `p`: any address within the object.
std::string WhatHolds(const void* p);

}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_WHAT_HOLDS_H_
