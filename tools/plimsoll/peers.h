// What the two Go programs' defaults would choose for GOMAXPROCS in this container.
//
//   go125             Go 1.25.0: joins the mount point and the path, whatever the mount's root is
//   go1268            Go 1.26.8: finds the mount whose root holds the path (golang/go#76390)
//   automaxprocs_1_6  go.uber.org/automaxprocs 1.6.0: rounds down; may fail, or leave Go's choice
//
// These are models of what the releases do, their mistakes included, so that `plimsoll limits` can
// show where and why we differ. container/DESIGN.md compares them with the programs themselves.
// The environment (GOMAXPROCS, GODEBUG) is left out: it would win in all three.
#ifndef PLIMSOLL_TOOLS_PLIMSOLL_PEERS_H_
#define PLIMSOLL_TOOLS_PLIMSOLL_PEERS_H_

#include <optional>
#include <string>

#include "plimsoll/container/cgroup/files.h"

namespace plimsoll::tools {

struct AutomaxprocsChoice {
  enum class Kind { kValue, kUnchanged, kError };
  Kind kind = Kind::kUnchanged;
  int value = 0;  // kValue

  // "2", "unchanged" or "error".
  std::string Text() const;
};

// In place of a GOMAXPROCS: the program ends before main.
inline constexpr int kGoEnds = 0;

struct Peers {
  int go125 = 1;
  int go1268 = 1;
  AutomaxprocsChoice automaxprocs_1_6;
};

// `affinity` is the number of CPUs in the affinity mask.
Peers AskPeers(container::Files& files, int affinity);

}  // namespace plimsoll::tools

#endif  // PLIMSOLL_TOOLS_PLIMSOLL_PEERS_H_
