// The collector's barrier, start, end and hand-offs: a model of the design, whole state spaces.
//
// Not the product's source: it goes through states by hand, since a collector stops a mutator
// between any two of its instructions. Memory is x86's: each mutator has a store buffer.
//
// Three designs. *Snapshot* is what runtime/gc does: a mark starts with the world stopped, and all
// stacks are read then; what they hold is marked while the mutators run. The barrier looks at the
// flag first. Where that is down, or the slot holds null, it stores, and the start follows the
// slots that interrupted mutators were about to store to; where it is up, a no-preempt region looks
// again, loads what is there, stores, and marks what it loaded. The end stops the world and scans
// no stack. *Load first* is what runtime/gc did before: load, store, look; the end scans again the
// stacks of those that a signal stopped. It loses objects where two mutators race on a slot.
// *Ragged* is what may come after: the hybrid barrier in the order of load first, a start by a flag
// and a membarrier (no stop), stacks scanned one by one, an end as load first's.
//
// The world: roots A and B; an object O, reachable from A at first, whose field F holds P; an
// object N in a register of mutator 0, where a program says so; W is allocated by a program. R is a
// place in mutator 1's frame, into which a channel hands a value while mutator 1 is parked. Where a
// program says so there is a weak pointer to O. lock() takes O out of it, in a no-preempt region in
// which it marks what it took, if the flag is up; the end, when the world is stopped and nothing is
// left to scan, makes it null if O is not marked.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <string>
#include <unordered_set>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/tests/model/atomic.h"
#include "plimsoll/tests/model/explore.h"
#include "plimsoll/tests/model/faults.h"

namespace plimsoll::model {
namespace {

enum Object : uint8_t { kNull, kO, kP, kN, kW };
enum Slot : uint8_t { kA, kB, kF, kR, kSlots };
constexpr uint8_t Bit(uint8_t object) {
  return object == kNull ? 0 : static_cast<uint8_t>(1 << object);
}

// What a mutator's program does, before and after it is cut into instructions.
enum class Do : uint8_t {
  kLoad,   // reg = slot
  kClear,  // reg = null
  kSet,    // slot = reg or null, with the barrier
  kNew,    // reg = new W
  kSend,   // hands reg to the parked mutator 1
  kRecv,   // reg = what was handed
  kLock,   // reg = what the weak pointer gives
  kIf,     // the program ends here if reg is null
  // Instructions of the barrier and of the others that have several.
  kLoadOld,
  kStore,
  kLoadFlag,
  kRecord,
  kLook,      // looks at the flag: down, stores next; up, goes on behind that store
  kLookNull,  // looks whether the slot is null: it stores next; else as kLook
  kLookedStore,
  kRegion,  // looks again, within a no-preempt region that kRecordOut ends
  kLoadHere,
  kRecordOut,
  kAllocBegin,  // reads the phase; a no-preempt region until kAllocEnd
  kAllocEnd,
  kSendBegin,  // a no-preempt region until kSendEnd
  kSendEnd,
  kLockBegin,  // a no-preempt region until kLockShade
  kLockLoad,
  kLockShade,
};
constexpr int8_t kRegR = 0, kRegQ = 1, kNoReg = -1;
struct Op {
  Do what;
  Slot slot = kA;
  int8_t reg = kNoReg;  // the value; kNoReg: null
};
using Code = std::vector<Op>;

Op Ld(int8_t reg, Slot s) { return {Do::kLoad, s, reg}; }
Op Set(Slot s, int8_t reg) { return {Do::kSet, s, reg}; }
Op Null(Slot s) { return {Do::kSet, s, kNoReg}; }
Op Clr(int8_t reg) { return {Do::kClear, kA, reg}; }
Op New(int8_t reg) { return {Do::kNew, kA, reg}; }
Op Send(int8_t reg) { return {Do::kSend, kR, reg}; }
Op Recv(int8_t reg) { return {Do::kRecv, kR, reg}; }
Op LockWeak(int8_t reg) { return {Do::kLock, kA, reg}; }
Op If(int8_t reg) { return {Do::kIf, kA, reg}; }

struct Program {
  const char* name;
  Code code[2];
  bool n_in_q = false;  // N is in mutator 0's q at first
  bool weak_o = false;  // there is a weak pointer to O
};

// The design, and what can be taken from it.
struct Design {
  enum Barrier {
    kLoadFirst,    // load, store, look, record
    kCheckFirst,   // load, look, record, store
    kRegion,       // look; store | load: null: store | region: look, load, store, record
    kBareRegion,   // the same, but the region ends before it records
    kLoadOutside,  // the same, but the load is before the region
    kOneLook,      // the same, but the flag is not looked at again within
  } barrier = kLoadFirst;
  bool follow_slots = false;  // the start follows what interrupted mutators are about to overwrite
  bool membarrier = true;
  // Which stacks the end scans again: those that a signal stopped, or those of them within a
  // barrier. Who parked, or came to its end, stopped by itself and is not scanned again.
  enum Rescan { kInterrupted, kInBarrier, kNone } rescan = kInterrupted;
  bool scan_inside_allocation = false;
  bool flip_before_flush = false;
  enum HandOff { kPublishThenShade, kShadeThenPublish, kUnshaded } hand_off = kPublishThenShade;
  // A start with the world stopped; and whether it scans the stacks.
  bool stopped_start = false;
  bool stacks_at_start = true;
  // What that start finds it keeps, to be marked one by one while the mutators run; and whether the
  // end waits for it.
  bool keeps = false;
  bool end_awaits_kept = true;
  enum Record { kBoth, kOld, kNew, kNothing } record = kBoth;
  bool allocate_white = false;
  // Weak pointers.
  bool lock_shades = true;
  bool lock_region = true;
  bool judged_stopped = true;  // who is dead is decided when the world is stopped for the end
  bool forgets = true;         // the end makes a weak pointer to what is dead null
};

// The design of runtime/gc.
constexpr Design kSnapshot = {.barrier = Design::kRegion,
                              .follow_slots = true,
                              .rescan = Design::kNone,
                              .hand_off = Design::kUnshaded,
                              .stopped_start = true,
                              .keeps = true,
                              .record = Design::kOld};
// And the one before it.
constexpr Design kLoadFirst = {
    .hand_off = Design::kUnshaded, .stopped_start = true, .record = Design::kOld};
// A design, but for one thing.
template <typename F>
Design But(Design d, F change) {
  change(d);
  return d;
}
template <typename F>
Design SnapshotBut(F change) {
  return But(kSnapshot, change);
}

Code Compile(const Code& program, const Design& d) {
  Code code;
  const auto barrier = [&](Slot slot, int8_t reg) {
    const auto append = [&](std::initializer_list<Do> ops) {
      for (const Do op : ops) code.push_back({op, slot, reg});
    };
    switch (d.barrier) {
      case Design::kLoadFirst:
        append({Do::kLoadOld, Do::kStore, Do::kLoadFlag, Do::kRecord});
        break;
      case Design::kCheckFirst:
        append({Do::kLoadOld, Do::kLoadFlag, Do::kRecord, Do::kStore});
        break;
      case Design::kRegion:
        append({Do::kLook, Do::kLookedStore, Do::kLookNull, Do::kLookedStore, Do::kRegion,
                Do::kLoadHere, Do::kStore, Do::kRecordOut});
        break;
      case Design::kBareRegion:
        append({Do::kLook, Do::kLookedStore, Do::kRegion, Do::kLoadHere, Do::kStore, Do::kSendEnd,
                Do::kRecordOut});
        break;
      case Design::kLoadOutside:
        append(
            {Do::kLoadHere, Do::kLook, Do::kLookedStore, Do::kRegion, Do::kStore, Do::kRecordOut});
        break;
      case Design::kOneLook:
        append({Do::kLook, Do::kLookedStore, Do::kLoadHere, Do::kStore, Do::kRecordOut});
        break;
    }
  };
  for (const Op& op : program) {
    switch (op.what) {
      case Do::kSet:
        barrier(op.slot, op.reg);
        break;
      case Do::kNew:
        code.push_back({Do::kAllocBegin, op.slot, op.reg});
        code.push_back({Do::kAllocEnd, op.slot, op.reg});
        break;
      case Do::kSend: {
        code.push_back({Do::kSendBegin, op.slot, op.reg});
        const Op publish{Do::kStore, op.slot, op.reg};
        const Op flag{Do::kLoadFlag, op.slot, op.reg};
        const Op record{Do::kRecord, op.slot, op.reg};
        if (d.hand_off == Design::kPublishThenShade) {
          code.insert(code.end(), {publish, flag, record});
        } else if (d.hand_off == Design::kShadeThenPublish) {
          code.insert(code.end(), {flag, record, publish});
        } else {
          code.push_back(publish);
        }
        code.push_back({Do::kSendEnd, op.slot, op.reg});
        break;
      }
      case Do::kLock:
        for (const Do part : {Do::kLockBegin, Do::kLockLoad, Do::kLockShade}) {
          code.push_back({part, op.slot, op.reg});
        }
        break;
      default:
        code.push_back(op);
    }
  }
  return code;
}

struct Pending {
  uint8_t slot, value;
};
constexpr int kBuffered = 6;

struct Mutator {
  uint8_t pc = 0;
  uint8_t reg[2] = {};
  uint8_t old = kNull;
  uint8_t flag = 0;
  uint8_t in_region = 0;
  uint8_t recorded = 0;  // the barrier's buffer, as a set
  uint8_t stores = 0;
  Pending buffer[kBuffered] = {};

  uint8_t Held() const { return static_cast<uint8_t>(Bit(reg[0]) | Bit(reg[1]) | Bit(old)); }
};

enum Phase : uint8_t { kOff, kFlagUp, kMarking, kSwept };
// What is still to be scanned: slots and objects by their slot, stacks.
constexpr uint8_t kTodoA = 1, kTodoB = 2, kTodoF = 4, kTodoStack0 = 8, kTodoStack1 = 16;

struct State {
  Mutator m[2];
  uint8_t mem[kSlots] = {};
  uint8_t phase = kOff;
  uint8_t flag = 0;
  uint8_t todo = 0;
  uint8_t kept = 0;  // what the start found and nobody has followed
  uint8_t marked = 0;
  uint8_t weak = kNull;   // what the weak pointer holds
  uint8_t judged = 0;     // whether it was, where that is not the end's
  uint8_t condemned = 0;  // and what is dead then

  bool operator==(const State& o) const { return memcmp(this, &o, sizeof(State)) == 0; }
};
static_assert(std::has_unique_object_representations_v<State>);
struct Hash {
  size_t operator()(const State& s) const {
    const auto* bytes = reinterpret_cast<const unsigned char*>(&s);
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof(State); ++i) h = (h ^ bytes[i]) * 0x100000001b3u;
    return static_cast<size_t>(h ^ (h >> 29));
  }
};

struct Found {
  size_t states = 0;
  bool lost = false;  // a live object was not marked
  std::string what;
};

class Search {
 public:
  Search(const Program& p, const Design& d)
      : design_(d), code_{Compile(p.code[0], d), Compile(p.code[1], d)} {
    State s;
    s.mem[kA] = kO;
    s.mem[kF] = kP;
    if (p.n_in_q) s.m[0].reg[kRegQ] = kN;
    if (p.weak_o) s.weak = kO;
    Add(s);
  }

  Found Run() {
    while (!stack_.empty() && !found_.lost) {
      const State s = stack_.back();
      stack_.pop_back();
      if (s.phase == kSwept) {
        CheckLive(s);
        continue;
      }
      for (int i = 0; i < 2; ++i) {
        Step(s, i);
        Drain(s, i);
      }
      Collect(s);
    }
    found_.states = seen_.size();
    return found_;
  }

 private:
  void Add(const State& s) {
    if (seen_.insert(s).second) stack_.push_back(s);
  }

  static uint8_t Read(const State& s, int i, uint8_t slot) {
    const Mutator& m = s.m[i];
    for (int k = m.stores; k-- > 0;) {
      if (m.buffer[k].slot == slot) return m.buffer[k].value;
    }
    return s.mem[slot];
  }
  static void DrainOne(State& s, int i) {
    Mutator& m = s.m[i];
    s.mem[m.buffer[0].slot] = m.buffer[0].value;
    for (int k = 1; k < m.stores; ++k) m.buffer[k - 1] = m.buffer[k];
    --m.stores;
    m.buffer[m.stores] = {};
  }
  static void DrainAll(State& s, int i) {
    while (s.m[i].stores > 0) DrainOne(s, i);
  }

  // One instruction of mutator i.
  void Step(const State& from, int i) {
    if (from.m[i].pc >= code_[i].size()) return;
    State s = from;
    Mutator& m = s.m[i];
    const Op& op = code_[i][m.pc];
    const uint8_t value = op.reg == kNoReg ? uint8_t{kNull} : m.reg[op.reg];
    switch (op.what) {
      case Do::kLoad:
        m.reg[op.reg] = Read(s, i, op.slot);
        break;
      case Do::kClear:
        m.reg[op.reg] = kNull;
        break;
      case Do::kLoadOld:
        m.old = Read(s, i, op.slot);
        break;
      case Do::kStore:
        if (m.stores == kBuffered) return;  // until one is drained
        m.buffer[m.stores++] = {op.slot, value};
        break;
      case Do::kLoadFlag:
        m.flag = s.flag;
        break;
      case Do::kRecord:
        if (m.flag != 0) m.recorded |= Recorded(m.old, value);
        m.flag = 0;
        m.old = kNull;
        break;
      case Do::kLook:
        m.flag = s.flag;
        if (m.flag != 0) ++m.pc;  // past kLookedStore
        break;
      case Do::kLookNull:
        if (Read(s, i, op.slot) != kNull) ++m.pc;
        break;
      case Do::kLookedStore:
        if (m.stores == kBuffered) return;
        m.buffer[m.stores++] = {op.slot, value};
        m.old = kNull;
        while (code_[i][m.pc].what != Do::kRecordOut) ++m.pc;
        break;
      case Do::kRegion:
        m.flag = s.flag;
        m.in_region = 1;
        break;
      case Do::kLoadHere:
        m.old = Read(s, i, op.slot);
        break;
      case Do::kRecordOut:
        if (m.flag != 0) m.recorded |= Recorded(m.old, value);
        m.flag = 0;
        m.old = kNull;
        m.in_region = 0;
        break;
      case Do::kAllocBegin:
        m.flag = s.flag;
        m.in_region = 1;
        break;
      case Do::kAllocEnd:  // black while marking
        m.reg[op.reg] = kW;
        if (m.flag != 0 && !design_.allocate_white) s.marked |= Bit(kW);
        m.flag = 0;
        m.in_region = 0;
        break;
      case Do::kSendBegin:
        m.in_region = 1;
        break;
      case Do::kSendEnd:
        m.in_region = 0;
        break;
      case Do::kIf:
        if (value == kNull) m.pc = static_cast<uint8_t>(code_[i].size() - 1);
        break;
      case Do::kLockBegin:
        m.in_region = design_.lock_region ? 1 : 0;
        break;
      case Do::kLockLoad:
        m.old = s.weak;
        break;
      case Do::kLockShade:
        if (s.flag != 0 && design_.lock_shades) Mark(s, Bit(m.old));
        m.reg[op.reg] = m.old;
        m.old = kNull;
        m.in_region = 0;
        break;
      case Do::kRecv:
        if (s.mem[kR] == kNull) return;  // parked
        m.reg[op.reg] = s.mem[kR];
        s.mem[kR] = kNull;
        break;
      default:
        ADD_FAILURE() << "an op that was not compiled";
        return;
    }
    ++m.pc;
    Add(s);
  }

  uint8_t Recorded(uint8_t old, uint8_t value) const {
    switch (design_.record) {
      case Design::kBoth:
        return static_cast<uint8_t>(Bit(old) | Bit(value));
      case Design::kOld:
        return Bit(old);
      case Design::kNew:
        return Bit(value);
      default:
        return 0;
    }
  }

  void Drain(const State& from, int i) {
    if (from.m[i].stores == 0) return;
    State s = from;
    DrainOne(s, i);
    Add(s);
  }

  static void Mark(State& s, uint8_t objects) {
    for (uint8_t o = kO; o <= kW; ++o) {
      if ((objects & Bit(o)) == 0 || (s.marked & Bit(o)) != 0) continue;
      s.marked |= Bit(o);
      if (o == kO) s.todo |= kTodoF;
    }
  }
  // Of a stopped start.
  void Take(State& s, uint8_t objects) const {
    if (!design_.keeps) {
      Mark(s, objects);
      return;
    }
    for (uint8_t o = kO; o <= kW; ++o) s.kept |= objects & Bit(o);
  }
  bool IsDone(const State& s) const {
    return s.todo == 0 && (s.kept == 0 || !design_.end_awaits_kept);
  }
  bool MayStop(const Mutator& m) const {
    return m.in_region == 0 || design_.scan_inside_allocation;
  }

  void Collect(const State& from) {
    State s = from;
    switch (from.phase) {
      case kOff:
        if (design_.stopped_start) {
          Start(from);
          return;
        }
        s.flag = 1;
        s.phase = kFlagUp;
        Add(s);
        return;
      case kFlagUp:
        s.phase = kMarking;
        s.todo = kTodoA | kTodoB | kTodoStack0 | kTodoStack1;
        if (design_.membarrier) {
          // Every mutator's stores, in one order or the other.
          for (int first = 0; first < 2; ++first) {
            State t = s;
            DrainAll(t, first);
            DrainAll(t, 1 - first);
            Add(t);
          }
        } else {
          Add(s);
        }
        return;
      case kMarking:
        break;
      default:
        return;
    }
    if (IsDone(from)) {
      if (!design_.judged_stopped && from.judged == 0) {
        s.judged = 1;
        s.condemned = static_cast<uint8_t>(Bit(s.weak) & ~s.marked);
        Add(s);
        return;
      }
      End(from);
      return;
    }
    for (uint8_t o = kO; o <= kW; ++o) {
      if ((from.kept & Bit(o)) == 0) continue;
      s = from;
      s.kept &= static_cast<uint8_t>(~Bit(o));
      Mark(s, Bit(o));
      Add(s);
    }
    constexpr struct {
      uint8_t todo;
      Slot slot;
    } kSlotTodos[] = {{kTodoA, kA}, {kTodoB, kB}, {kTodoF, kF}};
    for (const auto& t : kSlotTodos) {
      if ((from.todo & t.todo) == 0) continue;
      s = from;
      s.todo &= static_cast<uint8_t>(~t.todo);
      Mark(s, Bit(s.mem[t.slot]));
      Add(s);
    }
    // A handshake: the signal drains the store buffer; the handler scans registers and frame, and
    // hands the barrier's buffer over.
    for (int i = 0; i < 2; ++i) {
      const uint8_t bit = i == 0 ? kTodoStack0 : kTodoStack1;
      if ((from.todo & bit) == 0 || !MayStop(from.m[i])) continue;
      s = from;
      s.todo &= static_cast<uint8_t>(~bit);
      DrainAll(s, i);
      Mark(s,
           static_cast<uint8_t>(s.m[i].Held() | s.m[i].recorded | (i == 1 ? Bit(s.mem[kR]) : 0)));
      s.m[i].recorded = 0;
      Add(s);
    }
  }

  // Stops the world, takes the snapshot of what is not in the heap, raises the flag.
  void Start(const State& from) {
    if (!MayStop(from.m[0]) || !MayStop(from.m[1])) return;
    State s = from;
    s.flag = 1;
    s.phase = kMarking;
    s.todo = kTodoA | kTodoB;
    if (!design_.stacks_at_start) s.todo |= kTodoStack0 | kTodoStack1;
    // The stores of both, in one order or the other.
    for (int first = 0; first < 2; ++first) {
      State t = s;
      DrainAll(t, first);
      DrainAll(t, 1 - first);
      for (int i = 0; i < 2; ++i) {
        if (design_.stacks_at_start) Take(t, t.m[i].Held());
        // The slot's address is in a register.
        if (design_.follow_slots && At(t, i) == Do::kLookedStore) {
          Take(t, Bit(t.mem[code_[i][t.m[i].pc].slot]));
        }
      }
      if (design_.stacks_at_start) Take(t, Bit(t.mem[kR]));
      Add(t);
    }
  }

  // The instruction that mutator i is at; kClear: it is at its end.
  Do At(const State& s, int i) const {
    return s.m[i].pc < code_[i].size() ? code_[i][s.m[i].pc].what : Do::kClear;
  }

  // Stops the world; ends the cycle if that shows nothing new.
  void End(const State& from) {
    if (!MayStop(from.m[0]) || !MayStop(from.m[1])) return;
    State s = from;
    for (int i = 0; i < 2; ++i) {
      DrainAll(s, i);
      Mutator& m = s.m[i];
      if (!design_.flip_before_flush) {
        Mark(s, m.recorded);
        m.recorded = 0;
      }
      const bool in_barrier =
          At(s, i) == Do::kStore || At(s, i) == Do::kLoadFlag || At(s, i) == Do::kRecord;
      const bool interrupted = m.pc < code_[i].size() && code_[i][m.pc].what != Do::kRecv;
      if (design_.rescan == Design::kInterrupted
              ? interrupted
              : design_.rescan == Design::kInBarrier && in_barrier) {
        Mark(s, static_cast<uint8_t>(m.Held() | (i == 1 ? Bit(s.mem[kR]) : 0)));
      }
    }
    if (IsDone(s)) {
      s.phase = kSwept;
      s.flag = 0;
      Judge(s);
    }
    Add(s);
  }

  // What is dead is swept, and the weak pointer to it is null.
  void Judge(State& s) const {
    const auto dead = static_cast<uint8_t>(design_.judged_stopped ? Bit(s.weak) & ~s.marked
                                                                  : s.condemned & Bit(s.weak));
    if (dead == 0) return;
    s.marked &= static_cast<uint8_t>(~dead);
    if (design_.forgets) s.weak = kNull;
  }

  void CheckLive(const State& s) {
    uint8_t live = 0;
    const auto reach = [&](uint8_t object) { live |= Bit(object); };
    for (int i = 0; i < 2; ++i) {
      reach(s.m[i].reg[0]);
      reach(s.m[i].reg[1]);
      for (int k = 0; k < s.m[i].stores; ++k) {
        if (s.m[i].buffer[k].slot != kF) reach(s.m[i].buffer[k].value);
      }
    }
    for (Slot slot : {kA, kB, kR}) reach(s.mem[slot]);
    for (int i = 0; i < 2; ++i) {
      if (At(s, i) == Do::kLockShade) reach(s.m[i].old);
    }
    reach(s.weak);  // of what it holds anyone may take hold
    if ((live & Bit(kO)) != 0) {
      reach(s.mem[kF]);
      for (const Mutator& m : s.m) {
        for (int k = 0; k < m.stores; ++k) {
          if (m.buffer[k].slot == kF) reach(m.buffer[k].value);
        }
      }
    }
    if ((live & ~s.marked) == 0) return;
    found_.lost = true;
    found_.what = "live " + std::to_string(live) + ", marked " + std::to_string(s.marked) +
                  ", at pc " + std::to_string(s.m[0].pc) + " and " + std::to_string(s.m[1].pc);
  }

  Design design_;
  Code code_[2];
  std::unordered_set<State, Hash> seen_;
  std::vector<State> stack_;
  Found found_;
};

const Program kLeaves[] = {
    {"M0 r=A;B=r;r=0 / M1 r=B;B=0",
     {{Ld(kRegR, kA), Set(kB, kRegR), Clr(kRegR)}, {Ld(kRegR, kB), Null(kB)}}},
    {"M0 A=0 / M1 r=A;B=r;r=0", {{Null(kA)}, {Ld(kRegR, kA), Set(kB, kRegR), Clr(kRegR)}}},
    {"M0 B=q;q=0 / M1 r=B;A=r;r=0",
     {{Set(kB, kRegQ), Clr(kRegQ)}, {Ld(kRegR, kB), Set(kA, kRegR), Clr(kRegR)}},
     true},
    {"M0 B=q;q=0 / M1 r=B;B=0", {{Set(kB, kRegQ), Clr(kRegQ)}, {Ld(kRegR, kB), Null(kB)}}, true},
};
const Program kChains[] = {
    {"M0 r=A;q=F;F=0;A=0 / M1 r=A;B=r",
     {{Ld(kRegR, kA), Ld(kRegQ, kF), Null(kF), Null(kA)}, {Ld(kRegR, kA), Set(kB, kRegR)}}},
    {"M0 r=A;q=F;B=q;F=0;q=0;r=0 / M1 r=B;B=0",
     {{Ld(kRegR, kA), Ld(kRegQ, kF), Set(kB, kRegQ), Null(kF), Clr(kRegQ), Clr(kRegR)},
      {Ld(kRegR, kB), Null(kB)}}},
    {"M0 r=A;q=F;F=0;A=q;r=0 / M1 r=A;B=r;r=0",
     {{Ld(kRegR, kA), Ld(kRegQ, kF), Null(kF), Set(kA, kRegQ), Clr(kRegR)},
      {Ld(kRegR, kA), Set(kB, kRegR), Clr(kRegR)}}},
};
const Program kAllocations[] = {
    {"M0 q=new", {{New(kRegQ)}, {}}},
    {"M0 q=new;B=q;q=0;r=A;A=0 / M1 r=B;B=0",
     {{New(kRegQ), Set(kB, kRegQ), Clr(kRegQ), Ld(kRegR, kA), Null(kA)},
      {Ld(kRegR, kB), Null(kB)}}},
    {"M0 r=A;q=new;F=q;q=0;A=0 / M1 r=A;q=F;r=0",
     {{Ld(kRegR, kA), New(kRegQ), Set(kF, kRegQ), Clr(kRegQ), Null(kA)},
      {Ld(kRegR, kA), Ld(kRegQ, kF), Clr(kRegR)}}},
};
const Program kHandOffs[] = {
    {"M0 r=A;send r;r=0;A=0 / M1 recv q",
     {{Ld(kRegR, kA), Send(kRegR), Clr(kRegR), Null(kA)}, {Recv(kRegQ)}}},
    {"M0 send q;q=0 / M1 recv q", {{Send(kRegQ), Clr(kRegQ)}, {Recv(kRegQ)}}, true},
    {"M0 r=A;q=F;F=0;r=0;send q;q=0 / M1 recv q;B=q;q=0",
     {{Ld(kRegR, kA), Ld(kRegQ, kF), Null(kF), Clr(kRegR), Send(kRegQ), Clr(kRegQ)},
      {Recv(kRegQ), Set(kB, kRegQ), Clr(kRegQ)}}},
    {"M0 q=new;send q;q=0 / M1 recv q", {{New(kRegQ), Send(kRegQ), Clr(kRegQ)}, {Recv(kRegQ)}}},
};

// Two mutators write one slot, and nothing orders them.
const Program kRaces[] = {
    // As mutator 0 is about to overwrite what is in B, mutator 1 writes O there, and a mark begins.
    {"M0 B=0 / M1 r=A;B=r;A=0;r=0;q=B",
     {{Null(kB)}, {Ld(kRegR, kA), Set(kB, kRegR), Null(kA), Clr(kRegR), Ld(kRegQ, kB)}}},
    {"M0 F=0 / M1 q=F;F=0;F=q;q=0;q=F",
     {{Null(kF)}, {Ld(kRegQ, kF), Null(kF), Set(kF, kRegQ), Clr(kRegQ), Ld(kRegQ, kF)}}},
    {"M0 B=q;q=0 / M1 r=A;B=r;A=0;r=0;r=B",
     {{Set(kB, kRegQ), Clr(kRegQ)},
      {Ld(kRegR, kA), Set(kB, kRegR), Null(kA), Clr(kRegR), Ld(kRegR, kB)}},
     true},
};

// What a weak pointer gives out.
const Program kWeaks[] = {
    {"M0 A=0 / M1 r=lock;B=r;r=0",
     {{Null(kA)}, {LockWeak(kRegR), Set(kB, kRegR), Clr(kRegR)}},
     false,
     true},
    {"M0 A=0;r=lock;B=r;r=0;q=B",
     {{Null(kA), LockWeak(kRegR), Set(kB, kRegR), Clr(kRegR), Ld(kRegQ, kB)}, {}},
     false,
     true},
    {"M0 A=0 / M1 r=lock;if r;q=F;F=0;r=0",
     {{Null(kA)}, {LockWeak(kRegR), If(kRegR), Ld(kRegQ, kF), Null(kF), Clr(kRegR)}},
     false,
     true},
    {"M0 A=0;r=lock;if r;q=F;B=q;q=0;r=0 / M1 q=lock;A=q;q=0",
     {{Null(kA), LockWeak(kRegR), If(kRegR), Ld(kRegQ, kF), Set(kB, kRegQ), Clr(kRegQ), Clr(kRegR)},
      {LockWeak(kRegQ), Set(kA, kRegQ), Clr(kRegQ)}},
     false,
     true},
    {"M0 A=0;r=lock;if r;send r;r=0 / M1 recv q",
     {{Null(kA), LockWeak(kRegR), If(kRegR), Send(kRegR), Clr(kRegR)}, {Recv(kRegQ)}},
     false,
     true},
};

template <size_t kCount>
void Append(std::vector<Program>& to, const Program (&from)[kCount]) {
  to.insert(to.end(), from, from + kCount);
}
std::vector<Program> Everything() {
  std::vector<Program> all;
  Append(all, kLeaves);
  Append(all, kChains);
  Append(all, kAllocations);
  Append(all, kHandOffs);
  return all;
}
std::vector<Program> Races() {
  std::vector<Program> all;
  Append(all, kRaces);
  return all;
}
std::vector<Program> Weaks() {
  std::vector<Program> all;
  Append(all, kWeaks);
  return all;
}
std::vector<Program> EverythingAndRaces() {
  std::vector<Program> all = Everything();
  Append(all, kRaces);
  return all;
}

// Runs all programs; the number of those in which an object is lost.
int Losses(const char* what, const Design& design, const std::vector<Program>& programs) {
  int losses = 0;
  size_t states = 0;
  for (const Program& p : programs) {
    const Found f = Search(p, design).Run();
    states += f.states;
    if (!f.lost) continue;
    if (losses++ == 0)
      printf("|   lost in: %s (%s) after %zu states\n", p.name, f.what.c_str(), f.states);
  }
  printf("| collector: %s | %zu programs, %d lose | %zu states |\n", what, programs.size(), losses,
         states);
  fflush(stdout);
  return losses;
}

TEST(SnapshotModel, NothingLiveIsLost) {
  EXPECT_EQ(Losses("snapshot: as it is", kSnapshot, EverythingAndRaces()), 0);
}

TEST(SnapshotModel, FindsEachPlantedFault) {
  const auto expect_found = [](const char* what, auto change) {
    EXPECT_GT(Losses(what, SnapshotBut(change), EverythingAndRaces()), 0) << what;
  };
  expect_found("snapshot: no barrier", [](Design& d) { d.record = Design::kNothing; });
  expect_found("snapshot: the barrier records the new pointer",
               [](Design& d) { d.record = Design::kNew; });
  expect_found("snapshot: allocation is white", [](Design& d) { d.allocate_white = true; });
  expect_found("snapshot: the start does not follow slots",
               [](Design& d) { d.follow_slots = false; });
  expect_found("snapshot: the region ends before it records",
               [](Design& d) { d.barrier = Design::kBareRegion; });
  expect_found("snapshot: no region", [](Design& d) { d.barrier = Design::kOneLook; });
  expect_found("snapshot: the load is before the region",
               [](Design& d) { d.barrier = Design::kLoadOutside; });
  expect_found("snapshot: check-then-store, and no region",
               [](Design& d) { d.barrier = Design::kCheckFirst; });
  expect_found("snapshot: flip before flush", [](Design& d) { d.flip_before_flush = true; });
  expect_found("snapshot: a stop inside allocation, and inside the region",
               [](Design& d) { d.scan_inside_allocation = true; });
  expect_found("snapshot: the end does not wait for what the start kept",
               [](Design& d) { d.end_awaits_kept = false; });
  expect_found("snapshot: stacks scanned after the start",
               [](Design& d) { d.stacks_at_start = false; });
}

TEST(WeakModel, WhatAWeakPointerGivesOutIsKeptAndWhatIsSweptItHasForgotten) {
  EXPECT_EQ(Losses("weak: as it is", kSnapshot, Weaks()), 0);
}

TEST(WeakModel, FindsEachPlantedFault) {
  const auto expect_found = [](const char* what, auto change) {
    EXPECT_GT(Losses(what, SnapshotBut(change), Weaks()), 0) << what;
  };
  expect_found("weak: lock does not shade", [](Design& d) { d.lock_shades = false; });
  expect_found("weak: lock is no region", [](Design& d) { d.lock_region = false; });
  expect_found("weak: judged before the world is stopped",
               [](Design& d) { d.judged_stopped = false; });
  expect_found("weak: the end forgets nothing", [](Design& d) { d.forgets = false; });
}

// The barrier that loads first, with its end: whole without races, and lost with them.
TEST(LoadFirstModel, LosesNothingButInARace) {
  EXPECT_EQ(Losses("load first", kLoadFirst, Everything()), 0);
  EXPECT_EQ(Losses("load first: end re-scan of those within a barrier",
                   But(kLoadFirst, [](Design& d) { d.rescan = Design::kInBarrier; }), Everything()),
            0);
  EXPECT_GT(Losses("load first: races", kLoadFirst, Races()), 0);
}

TEST(LoadFirstModel, FindsEachPlantedFault) {
  const auto expect_found = [](const char* what, auto change) {
    EXPECT_GT(Losses(what, But(kLoadFirst, change), Everything()), 0) << what;
  };
  expect_found("load first: check-then-store", [](Design& d) { d.barrier = Design::kCheckFirst; });
  expect_found("load first: no end re-scan", [](Design& d) { d.rescan = Design::kNone; });
}

// The stopped start makes the stacks black at once; where they are scanned one by one after it,
// both halves of the barrier are needed, and hand-offs are shaded, before or after they are
// published.
TEST(SnapshotModel, StacksMayBeScannedAfterAStoppedStartByTheHybridBarrier) {
  for (const auto hand_off : {Design::kPublishThenShade, Design::kShadeThenPublish}) {
    EXPECT_EQ(Losses("stopped start, stacks one by one, hybrid barrier",
                     {.hand_off = hand_off, .stopped_start = true, .stacks_at_start = false},
                     Everything()),
              0);
  }
  EXPECT_GT(Losses("the same, hand-offs not shaded",
                   {.hand_off = Design::kUnshaded, .stopped_start = true, .stacks_at_start = false},
                   Everything()),
            0);
}

TEST(CollectorModel, NothingLiveIsLost) {
  EXPECT_EQ(Losses("ragged: as it is", {}, Everything()), 0);
}

TEST(CollectorModel, FindsEachPlantedFault) {
  EXPECT_GT(Losses("check-then-store", {.barrier = Design::kCheckFirst}, Everything()), 0);
  EXPECT_GT(Losses("no membarrier", {.membarrier = false}, Everything()), 0);
  EXPECT_GT(Losses("no end re-scan", {.rescan = Design::kNone}, Everything()), 0);
  EXPECT_GT(Losses("flip before flush", {.flip_before_flush = true}, Everything()), 0);
  EXPECT_GT(Losses("a hand-off that is not shaded", {.hand_off = Design::kUnshaded}, Everything()),
            0);
  EXPECT_GT(Losses("a scan inside allocation", {.scan_inside_allocation = true}, Everything()), 0);
}

// What the design says of its own margins: those within a barrier are enough.
TEST(CollectorModel, AnEndScansThoseWithinABarrierAgain) {
  EXPECT_EQ(
      Losses("end re-scan of those within a barrier", {.rescan = Design::kInBarrier}, Everything()),
      0);
}

TEST(CollectorModel, AHandOffMustBeShadedAfterItIsPublished) {
  // "Shades before it publishes" would read the flag too early: the mark may start, and scan the
  // receiver's frame, between the two. It holds only where a mark starts with the world stopped.
  EXPECT_GT(Losses("a hand-off shaded before it is published",
                   {.hand_off = Design::kShadeThenPublish}, Everything()),
            0);
}

// --- The flip: mark bits become alloc bits while two mutators allocate.

// One span with one free slot. A mutator allocates from the span in its cache, or takes the span
// from the central list; each allocation is a no-preempt region, here a lock that who stops the
// world takes.
struct Span {
  Lock region[2];
  Lock central_lock;
  Var<int> in_central{0};
  Var<int> cached[2] = {Var<int>(1), Var<int>(0)};  // mutator 0 holds it at first
  Var<int> slot_taken{0};
  Var<int> epoch{0};

  void Allocate(int i) {
    region[i].lock();
    if (cached[i].Get() == 0) {
      central_lock.lock();
      if (in_central.Get() == 1) {
        in_central.Set(0);
        cached[i].Set(1);
      }
      central_lock.unlock();
    }
    if (cached[i].Get() == 1) {
      Check(slot_taken.Get() == 0, "a slot is handed out once");
      slot_taken.Set(1);
      cached[i].Set(0);  // full now
    }
    region[i].unlock();
  }
  void Flush(int i) {
    if (cached[i].Get() == 1) cached[i].Set(0);
  }
  // Stop, flush, flip, start.
  void Flip() {
    const bool late = Planted("flip before flush");
    region[0].lock();
    region[1].lock();
    if (!late) {
      Flush(0);
      Flush(1);
    }
    epoch.Set(epoch.Get() + 1);
    central_lock.lock();
    // Every span with a free slot is to be swept anew, by whoever takes it.
    if (slot_taken.Get() == 0) in_central.Set(1);
    central_lock.unlock();
    region[1].unlock();
    region[0].unlock();
    if (!late) return;
    for (int i : {0, 1}) {
      region[i].lock();
      Flush(i);
      region[i].unlock();
    }
  }
};

model::Program FlipAgainstTwoMutators() {
  return [] {
    auto* s = model::New<Span>("span");
    Thread("mutator 0", [=] { s->Allocate(0); });
    Thread("mutator 1", [=] { s->Allocate(1); });
    Thread("collector", [=] { s->Flip(); });
  };
}

TEST(SweepModel, AFlipHandsNoSlotOutTwice) {
  ExpectHolds("flip / allocate / allocate", {}, FlipAgainstTwoMutators());
}

TEST(SweepModel, FindsTheFlipBeforeTheFlush) {
  ExpectFinds("flip / allocate / allocate", "flip before flush", {}, FlipAgainstTwoMutators());
}

}  // namespace
}  // namespace plimsoll::model
