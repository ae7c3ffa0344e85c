// A Diagnostic says what was seen and not used, so that nothing is ignored in silence.
//
//   code                when
//   bad-value           a limit file cannot be read, or holds something that is not its format
//   cgroup-line         a line of /proc/self/cgroup is not "ID:CONTROLLERS:PATH"
//   mountinfo-line      a line of /proc/self/mountinfo is not as proc(5) says
//   not-exposed         the process's cgroup is named nowhere, or not below any mounted directory
//   own-path-unknown    a parent of it is mounted, but its own directory cannot be named or opened
//   deleted             the cgroup was removed while the process lived in it
//   use-hierarchy       a cgroup v1 parent does not charge its children (memory.use_hierarchy 0):
//                       the limit that was taken from it, or from above it, may not hold for us
//   environment         GOMAXPROCS, GOMEMLIMIT or an option holds nonsense; it was ignored
//   library             libcgroup could not be used; our own reader was
#ifndef PLIMSOLL_CONTAINER_CGROUP_DIAGNOSTIC_H_
#define PLIMSOLL_CONTAINER_CGROUP_DIAGNOSTIC_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::container {

struct Diagnostic {
  std::string code = {};   // from the table above
  std::string file = {};   // the file, or the variable, as the process names it
  std::string field = {};  // the part of it: "quota", "line 3"; empty: all of it
  std::string seen = {};   // the text seen, quoted and cut
  std::string text = {};   // one line of printable ASCII: all of that, and what was done instead

  bool operator==(const Diagnostic&) const = default;
};

// Collects Diagnostics, and stays small when a file has 100,000 bad lines: of each code it keeps
// the first kKept, and counts the rest.
class DiagnosticList {
 public:
  static constexpr size_t kKept = 8;

  // `why` completes the sentence "<file>: <field> <seen> ". It is printed as it is: names in it go
  // through Shown() or Quote().
  void Add(std::string_view code, std::string_view file, std::string_view field,
           std::string_view seen, std::string_view why);

  // The diagnostics in the order they were added; a code that overflowed ends with a count.
  std::vector<Diagnostic> Take();

 private:
  struct Count {
    std::string code;
    size_t added = 0;
  };
  std::vector<Diagnostic> kept_;
  std::vector<Count> counts_;
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_CGROUP_DIAGNOSTIC_H_
