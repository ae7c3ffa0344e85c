#include "plimsoll/runtime/symbolize/unwind.h"

#include <ucontext.h>

#include <cstring>

#include "plimsoll/runtime/symbolize/byte_reader.h"

// Stacks of others are full of what the sanitizers forbid to touch.
#define PLIMSOLL_READS_ANY_STACK \
  __attribute__((noinline, no_sanitize("address", "thread", "undefined")))

namespace plimsoll::symbolize {
namespace {

PLIMSOLL_READS_ANY_STACK uintptr_t LoadRaw(uintptr_t address) {
  return *reinterpret_cast<const volatile uintptr_t*>(address);
}

// The word at `address`, if it may be read.
bool LoadWord(const StackBounds& bounds, uintptr_t address, uintptr_t* out) {
  if (address % sizeof(uintptr_t) != 0) return false;
  if ((address < bounds.lo || address > bounds.hi - sizeof(uintptr_t) || bounds.hi == 0) &&
      !Readable(address)) {
    return false;
  }
  *out = LoadRaw(address);
  return true;
}

// A pointer by its DW_EH_PE encoding. `data`: what "datarel" is relative to. False: an encoding
// that no compiler writes here.
bool ReadPointer(ByteReader& r, uint8_t encoding, uintptr_t data, uintptr_t* out) {
  *out = 0;
  if (encoding == 0xff) return true;
  const uintptr_t here = r.at();
  uint64_t value;
  switch (encoding & 0x0f) {
    case 0x00:
    case 0x04:
    case 0x0c:
      value = r.Fixed<uint64_t>();
      break;
    case 0x01:
      value = r.Unsigned();
      break;
    case 0x02:
      value = r.Fixed<uint16_t>();
      break;
    case 0x03:
      value = r.Fixed<uint32_t>();
      break;
    case 0x09:
      value = static_cast<uint64_t>(r.Signed());
      break;
    case 0x0a:
      value = static_cast<uint64_t>(int64_t{r.Fixed<int16_t>()});
      break;
    case 0x0b:
      value = static_cast<uint64_t>(int64_t{r.Fixed<int32_t>()});
      break;
    default:
      return false;
  }
  switch (encoding & 0x70) {
    case 0x00:
      break;
    case 0x10:
      value += here;
      break;
    case 0x30:
      value += data;
      break;
    default:
      return false;
  }
  *out = static_cast<uintptr_t>(value);
  return r.ok();
}

// The function's description, and what its CIE says of all that share it.
struct Fde {
  uintptr_t pc_begin = 0, pc_end = 0;
  uintptr_t code = 0, code_end = 0;        // its own instructions
  uintptr_t initial = 0, initial_end = 0;  // the CIE's, which run first
  uint64_t code_align = 1;
  int64_t data_align = 1;
  uint64_t return_register = 0;
  bool signal_frame = false;
};

bool ParseCie(const Module& module, uintptr_t at, Fde* fde, uint8_t* pointer_encoding,
              bool* has_augmentation) {
  ByteReader head(at, module.hi);
  bool wide;
  const uint64_t length = head.Length(&wide);
  if (!head.ok() || length > module.hi - head.at()) return false;
  ByteReader r(head.at(), head.at() + length);
  const uintptr_t end = head.at() + length;
  if (r.Fixed<uint32_t>() != 0) return false;  // not a CIE
  const auto version = r.Fixed<uint8_t>();
  if (version != 1 && version != 3 && version != 4) return false;
  char augmentation[8] = {};
  for (size_t i = 0;; ++i) {
    const char c = r.Fixed<char>();
    if (!r.ok() || i + 1 >= sizeof(augmentation)) return false;
    augmentation[i] = c;
    if (c == '\0') break;
  }
  if (version == 4) r.Skip(2);  // sizes of an address and of a segment selector
  fde->code_align = r.Unsigned();
  fde->data_align = r.Signed();
  fde->return_register = version == 1 ? r.Fixed<uint8_t>() : r.Unsigned();
  *pointer_encoding = 0;
  *has_augmentation = augmentation[0] == 'z';
  if (*has_augmentation) {
    const uint64_t bytes = r.Unsigned();
    const uintptr_t after = r.at() + bytes;
    if (!r.ok() || after > end) return false;
    for (const char* c = augmentation + 1; *c != '\0'; ++c) {
      if (*c == 'R') {
        *pointer_encoding = r.Fixed<uint8_t>();
      } else if (*c == 'P') {
        const auto encoding = r.Fixed<uint8_t>();
        uintptr_t ignored;
        if (!ReadPointer(r, encoding, 0, &ignored)) return false;
      } else if (*c == 'L') {
        r.Skip(1);
      } else if (*c == 'S') {
        fde->signal_frame = true;
      } else if (*c != 'B') {  // 'B': arm64's pointer authentication, keys alone
        break;
      }
    }
    fde->initial = after;
  } else if (augmentation[0] != '\0') {
    return false;
  } else {
    fde->initial = r.at();
  }
  fde->initial_end = end;
  return r.ok();
}

bool FindFde(const Module& module, uintptr_t pc, Fde* fde) {
  if (module.unwind_index == 0) return false;
  const uintptr_t header = module.unwind_index;
  ByteReader r(header, module.hi);
  const auto version = r.Fixed<uint8_t>();
  const auto frame_encoding = r.Fixed<uint8_t>();
  const auto count_encoding = r.Fixed<uint8_t>();
  const auto table_encoding = r.Fixed<uint8_t>();
  // What every linker writes: pairs of signed 32-bit offsets from the header.
  if (!r.ok() || version != 1 || table_encoding != 0x3b) return false;
  uintptr_t frames, count;
  if (!ReadPointer(r, frame_encoding, header, &frames) ||
      !ReadPointer(r, count_encoding, header, &count) || count == 0 ||
      count > (module.hi - r.at()) / 8)
    return false;
  const uintptr_t table = r.at();
  const auto entry = [&](uint64_t i, int which) {
    int32_t offset;
    memcpy(&offset, reinterpret_cast<const void*>(table + i * 8 + static_cast<uint64_t>(which) * 4),
           4);
    return header + static_cast<uintptr_t>(int64_t{offset});
  };
  uint64_t lo = 0, hi = count;  // the first that begins after pc
  while (lo < hi) {
    const uint64_t mid = lo + (hi - lo) / 2;
    if (entry(mid, 0) <= pc) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  if (lo == 0) return false;
  const uintptr_t at = entry(lo - 1, 1);
  if (at < module.lo || at >= module.hi) return false;

  ByteReader f(at, module.hi);
  bool wide;
  const uint64_t length = f.Length(&wide);
  if (!f.ok() || length > module.hi - f.at()) return false;
  const uintptr_t end = f.at() + length;
  ByteReader body(f.at(), end);
  const uintptr_t cie_field = body.at();
  const auto back = body.Fixed<uint32_t>();
  if (back == 0 || back > cie_field - module.lo) return false;
  uint8_t encoding;
  bool has_augmentation;
  if (!ParseCie(module, cie_field - back, fde, &encoding, &has_augmentation)) return false;
  uintptr_t bytes;
  if (!ReadPointer(body, encoding, header, &fde->pc_begin) ||
      !ReadPointer(body, encoding & 0x0f, 0, &bytes)) {
    return false;
  }
  fde->pc_end = fde->pc_begin + bytes;
  if (has_augmentation) body.Skip(body.Unsigned());
  fde->code = body.at();
  fde->code_end = end;
  return body.ok() && pc >= fde->pc_begin && pc < fde->pc_end;
}

enum class Rule : uint8_t {
  kSame,
  kUndefined,
  kOffset,
  kValueOffset,
  kRegister,
  kExpression,
  kValueExpression
};

struct RegisterRule {
  Rule rule = Rule::kSame;
  int64_t value = 0;  // offset or register
  uintptr_t code = 0, code_end = 0;
};

// How to find the caller's registers at one place of the function.
struct Row {
  bool cfa_by_expression = false;
  uint64_t cfa_register = 0;
  int64_t cfa_offset = 0;
  uintptr_t cfa_code = 0, cfa_code_end = 0;
  RegisterRule r[kRegisters];
};

bool RunExpression(const StackBounds& bounds, const Registers& regs, uintptr_t code, uintptr_t end,
                   bool push_cfa, uintptr_t cfa, uintptr_t* out) {
  constexpr int kStack = 16;
  uint64_t stack[kStack];
  int depth = 0;
  if (push_cfa) stack[depth++] = cfa;
  ByteReader r(code, end);
  const auto push = [&](uint64_t v) {
    if (depth == kStack) return false;
    stack[depth++] = v;
    return true;
  };
  for (int steps = 0; !r.AtEnd() && r.ok(); ++steps) {
    if (steps > 200) return false;
    const auto op = r.Fixed<uint8_t>();
    bool ok = true;
    if (op >= 0x30 && op <= 0x4f) {  // DW_OP_lit0 …
      ok = push(op - 0x30u);
    } else if (op >= 0x70 && op <= 0x8f) {  // DW_OP_breg0 …
      const int64_t offset = r.Signed();
      const int reg = op - 0x70;
      uintptr_t value = 0;
      if (reg < kRegisters) {
        value = regs.r[reg];
      } else {
        return false;
      }
#if defined(__x86_64__)
      if (reg == 16) value = regs.pc;
#endif
      ok = push(value + static_cast<uint64_t>(offset));
    } else if (op >= 0x19 && op <= 0x2e && depth > 0) {
      // Unary and binary arithmetic and comparisons.
      if (op == 0x1f) {  // neg
        stack[depth - 1] = 0 - stack[depth - 1];
        continue;
      }
      if (op == 0x20) {  // not
        stack[depth - 1] = ~stack[depth - 1];
        continue;
      }
      if (op == 0x23) {  // plus_uconst
        stack[depth - 1] += r.Unsigned();
        continue;
      }
      if (depth < 2) return false;
      const uint64_t b = stack[--depth];
      uint64_t& a = stack[depth - 1];
      const auto sa = static_cast<int64_t>(a);
      const auto sb = static_cast<int64_t>(b);
      switch (op) {
        case 0x1a:
          a &= b;
          break;
        case 0x1c:
          a -= b;
          break;
        case 0x1e:
          a *= b;
          break;
        case 0x21:
          a |= b;
          break;
        case 0x22:
          a += b;
          break;
        case 0x24:
          a = b < 64 ? a << b : 0;
          break;
        case 0x25:
          a = b < 64 ? a >> b : 0;
          break;
        case 0x27:
          a ^= b;
          break;
        case 0x29:
          a = sa == sb;
          break;
        case 0x2a:
          a = sa >= sb;
          break;
        case 0x2b:
          a = sa > sb;
          break;
        case 0x2c:
          a = sa <= sb;
          break;
        case 0x2d:
          a = sa < sb;
          break;
        case 0x2e:
          a = sa != sb;
          break;
        default:
          return false;
      }
    } else {
      switch (op) {
        case 0x06: {  // deref
          if (depth == 0) return false;
          uintptr_t value;
          if (!LoadWord(bounds, stack[depth - 1], &value)) return false;
          stack[depth - 1] = value;
          break;
        }
        case 0x08:
          ok = push(r.Fixed<uint8_t>());
          break;
        case 0x09:
          ok = push(static_cast<uint64_t>(int64_t{r.Fixed<int8_t>()}));
          break;
        case 0x0a:
          ok = push(r.Fixed<uint16_t>());
          break;
        case 0x0b:
          ok = push(static_cast<uint64_t>(int64_t{r.Fixed<int16_t>()}));
          break;
        case 0x0c:
          ok = push(r.Fixed<uint32_t>());
          break;
        case 0x0d:
          ok = push(static_cast<uint64_t>(int64_t{r.Fixed<int32_t>()}));
          break;
        case 0x10:
          ok = push(r.Unsigned());
          break;
        case 0x11:
          ok = push(static_cast<uint64_t>(r.Signed()));
          break;
        case 0x12:  // dup
          if (depth == 0) return false;
          ok = push(stack[depth - 1]);
          break;
        case 0x13:  // drop
          if (depth == 0) return false;
          --depth;
          break;
        default:
          return false;
      }
    }
    if (!ok) return false;
  }
  if (!r.ok() || depth == 0) return false;
  *out = stack[depth - 1];
  return true;
}

// Runs call frame instructions until they describe `pc`. `initial`: the CIE's row, for "restore".
bool RunInstructions(const Fde& fde, uintptr_t code, uintptr_t end, uintptr_t pc,
                     const Row* initial, Row* row) {
  constexpr int kRemembered = 4;
  Row remembered[kRemembered];
  int depth = 0;
  uintptr_t location = fde.pc_begin;
  ByteReader r(code, end);
  RegisterRule ignored;  // of a register that is not kept here: a vector's
  const auto rule = [&](uint64_t reg) -> RegisterRule* {
    return reg < kRegisters ? &row->r[reg] : &ignored;
  };
  while (!r.AtEnd() && r.ok()) {
    const auto op = r.Fixed<uint8_t>();
    const uint64_t low = op & 0x3f;
    switch (op >> 6) {
      case 1:  // advance_loc
        location += low * fde.code_align;
        if (location > pc) return true;
        continue;
      case 2:  // offset
        *rule(low) = {Rule::kOffset, static_cast<int64_t>(r.Unsigned()) * fde.data_align, 0, 0};
        continue;
      case 3:  // restore
        *rule(low) = initial != nullptr && low < kRegisters ? initial->r[low] : RegisterRule{};
        continue;
      default:
        break;
    }
    switch (op) {
      case 0x00:  // nop
        break;
      case 0x01:  // set_loc
        location = r.Fixed<uint64_t>();
        if (location > pc) return true;
        break;
      case 0x02:
        location += r.Fixed<uint8_t>() * fde.code_align;
        if (location > pc) return true;
        break;
      case 0x03:
        location += r.Fixed<uint16_t>() * fde.code_align;
        if (location > pc) return true;
        break;
      case 0x04:
        location += r.Fixed<uint32_t>() * fde.code_align;
        if (location > pc) return true;
        break;
      case 0x05: {  // offset_extended
        const uint64_t reg = r.Unsigned();
        *rule(reg) = {Rule::kOffset, static_cast<int64_t>(r.Unsigned()) * fde.data_align, 0, 0};
        break;
      }
      case 0x06: {  // restore_extended
        const uint64_t reg = r.Unsigned();
        *rule(reg) = initial != nullptr && reg < kRegisters ? initial->r[reg] : RegisterRule{};
        break;
      }
      case 0x07:  // undefined
        rule(r.Unsigned())->rule = Rule::kUndefined;
        break;
      case 0x08:  // same_value
        rule(r.Unsigned())->rule = Rule::kSame;
        break;
      case 0x09: {  // register
        const uint64_t reg = r.Unsigned();
        *rule(reg) = {Rule::kRegister, static_cast<int64_t>(r.Unsigned()), 0, 0};
        break;
      }
      case 0x0a:  // remember_state
        if (depth == kRemembered) return false;
        remembered[depth++] = *row;
        break;
      case 0x0b: {  // restore_state
        if (depth == 0) return false;
        *row = remembered[--depth];
        break;
      }
      case 0x0c:  // def_cfa
        row->cfa_by_expression = false;
        row->cfa_register = r.Unsigned();
        row->cfa_offset = static_cast<int64_t>(r.Unsigned());
        break;
      case 0x0d:
        row->cfa_by_expression = false;
        row->cfa_register = r.Unsigned();
        break;
      case 0x0e:
        row->cfa_offset = static_cast<int64_t>(r.Unsigned());
        break;
      case 0x0f: {  // def_cfa_expression
        const uint64_t length = r.Unsigned();
        row->cfa_by_expression = true;
        row->cfa_code = r.at();
        r.Skip(length);
        row->cfa_code_end = r.at();
        break;
      }
      case 0x10:    // expression
      case 0x16: {  // val_expression
        const uint64_t reg = r.Unsigned();
        const uint64_t length = r.Unsigned();
        const uintptr_t at = r.at();
        r.Skip(length);
        *rule(reg) = {op == 0x10 ? Rule::kExpression : Rule::kValueExpression, 0, at, r.at()};
        break;
      }
      case 0x11: {  // offset_extended_sf
        const uint64_t reg = r.Unsigned();
        *rule(reg) = {Rule::kOffset, r.Signed() * fde.data_align, 0, 0};
        break;
      }
      case 0x12:  // def_cfa_sf
        row->cfa_by_expression = false;
        row->cfa_register = r.Unsigned();
        row->cfa_offset = r.Signed() * fde.data_align;
        break;
      case 0x13:
        row->cfa_offset = r.Signed() * fde.data_align;
        break;
      case 0x14: {  // val_offset
        const uint64_t reg = r.Unsigned();
        *rule(reg) = {Rule::kValueOffset, static_cast<int64_t>(r.Unsigned()) * fde.data_align, 0,
                      0};
        break;
      }
      case 0x15: {
        const uint64_t reg = r.Unsigned();
        *rule(reg) = {Rule::kValueOffset, r.Signed() * fde.data_align, 0, 0};
        break;
      }
      case 0x2d:  // GNU_window_save; arm64: the return address is signed or no longer so
        break;
      case 0x2e:  // GNU_args_size
        r.Unsigned();
        break;
      default:
        return false;
    }
  }
  return r.ok();
}

bool Apply(const StackBounds& bounds, const Fde& fde, const Row& row, const Registers& from,
           Registers* to, bool* outermost) {
  uintptr_t cfa;
  if (row.cfa_by_expression) {
    if (!RunExpression(bounds, from, row.cfa_code, row.cfa_code_end, false, 0, &cfa)) return false;
  } else {
    if (row.cfa_register >= kRegisters) return false;
    cfa = from.r[row.cfa_register] + static_cast<uintptr_t>(row.cfa_offset);
  }
  *to = from;
  to->r[kStackPointer] = cfa;
  *outermost = false;
  for (uint64_t i = 0; i < kRegisters; ++i) {
    const RegisterRule& rule = row.r[i];
    const uintptr_t at = cfa + static_cast<uintptr_t>(rule.value);
    switch (rule.rule) {
      case Rule::kSame:
        break;
      case Rule::kUndefined:
        if (i == fde.return_register) *outermost = true;
        break;
      case Rule::kOffset:
        if (!LoadWord(bounds, at, &to->r[i])) return false;
        break;
      case Rule::kValueOffset:
        to->r[i] = at;
        break;
      case Rule::kRegister:
        if (rule.value < 0 || rule.value >= kRegisters) return false;
        to->r[i] = from.r[rule.value];
        break;
      case Rule::kExpression: {
        uintptr_t where;
        if (!RunExpression(bounds, from, rule.code, rule.code_end, true, cfa, &where) ||
            !LoadWord(bounds, where, &to->r[i])) {
          return false;
        }
        break;
      }
      case Rule::kValueExpression:
        if (!RunExpression(bounds, from, rule.code, rule.code_end, true, cfa, &to->r[i]))
          return false;
        break;
    }
  }
  if (fde.return_register >= kRegisters) return false;
  to->pc = to->r[fde.return_register];
#if defined(__aarch64__)
  to->pc &= (uintptr_t{1} << 48) - 1;  // without a pointer authentication code
#endif
  to->after_call = !fde.signal_frame;
  return true;
}

// The saved frame pointer and the return address lie side by side where the frame pointer points.
bool ByFramePointer(const StackBounds& bounds, Registers* regs) {
  const uintptr_t frame = regs->r[kFramePointer];
  uintptr_t caller_frame, pc;
  if (frame < regs->r[kStackPointer] || frame % sizeof(uintptr_t) != 0) return false;
  if (bounds.hi != 0 && (frame < bounds.lo || frame + 16 > bounds.hi)) return false;
  if (!LoadWord(bounds, frame, &caller_frame) || !LoadWord(bounds, frame + 8, &pc)) return false;
  if (pc < 4096) return false;
  regs->r[kFramePointer] = caller_frame;
  regs->r[kStackPointer] = frame + 16;
  regs->pc = pc;
  regs->after_call = true;
  return true;
}

// A call through a bad pointer: nothing was pushed but the return address.
bool AfterBadCall(const ModuleList& modules, [[maybe_unused]] const StackBounds& bounds,
                  Registers* regs) {
#if defined(__x86_64__)
  uintptr_t pc;
  if (!LoadWord(bounds, regs->r[kStackPointer], &pc) || modules.Find(pc) == nullptr) return false;
  regs->r[kStackPointer] += 8;
#else
  const uintptr_t pc = regs->r[30];
  if (modules.Find(pc) == nullptr) return false;
#endif
  regs->pc = pc;
  regs->after_call = true;
  return true;
}

// Interrupted in code of a module that nobody described, such as a stub of the PLT: a jump, so that
// the innermost word is the return address still. It counts as one where a call comes before it.
bool AfterStub(const ModuleList& modules, [[maybe_unused]] const StackBounds& bounds,
               Registers* regs) {
#if defined(__x86_64__)
  constexpr uintptr_t kLongestCall = 6;
  uintptr_t pc;
  if (!LoadWord(bounds, regs->r[kStackPointer], &pc) || pc < kLongestCall) return false;
  Fde fde;
  const Module* module = modules.Find(pc - 1);
  if (module == nullptr || !FindFde(*module, pc - 1, &fde) || pc - fde.pc_begin < kLongestCall) {
    return false;
  }
  const auto* const end = reinterpret_cast<const uint8_t*>(pc);
  const bool direct = end[-5] == 0xe8;
  const bool indirect = end[-2] == 0xff || end[-3] == 0xff || end[-6] == 0xff;
  if (!direct && !indirect) return false;
#endif
  return AfterBadCall(modules, bounds, regs);
}

}  // namespace

Step Unwind(const ModuleList& modules, const StackBounds& bounds, Registers* regs) {
  const uintptr_t sp = regs->r[kStackPointer];
  const uintptr_t pc = regs->after_call ? regs->pc - 1 : regs->pc;
  const Module* module = modules.Find(pc);
  if (module == nullptr && !regs->after_call && AfterBadCall(modules, bounds, regs)) {
    return Step::kExact;
  }
  Fde fde;
  const bool described = module != nullptr && FindFde(*module, pc, &fde);
  if (module != nullptr && !described && !regs->after_call && AfterStub(modules, bounds, regs)) {
    return Step::kExact;
  }
  if (described) {
    Row initial;
    bool ok = RunInstructions(fde, fde.initial, fde.initial_end, ~uintptr_t{0}, nullptr, &initial);
    Row row = initial;
    ok = ok && RunInstructions(fde, fde.code, fde.code_end, pc, &initial, &row);
    Registers caller;
    bool outermost;
    if (ok && Apply(bounds, fde, row, *regs, &caller, &outermost)) {
      if (outermost || caller.pc < 4096) return Step::kEnd;
      // A frame that does not go up is a loop; but a signal frame may lead to another stack.
      if (caller.r[kStackPointer] <= sp && !fde.signal_frame &&
          !(caller.r[kStackPointer] == sp && !regs->after_call)) {
        return Step::kEnd;
      }
      *regs = caller;
      return Step::kExact;
    }
  }
  return ByFramePointer(bounds, regs) ? Step::kFramePointer : Step::kEnd;
}

Registers RegistersOf(const void* ucontext) {
  const auto* context = static_cast<const ucontext_t*>(ucontext);
  Registers regs;
#if defined(__x86_64__)
  static constexpr int kOrder[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                   REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                   REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
  for (int i = 0; i < kRegisters; ++i) {
    regs.r[i] = static_cast<uintptr_t>(context->uc_mcontext.gregs[kOrder[i]]);
  }
  regs.pc = regs.r[16];
#elif defined(__aarch64__)
  for (int i = 0; i < 31; ++i) regs.r[i] = context->uc_mcontext.regs[i];
  regs.r[31] = context->uc_mcontext.sp;
  regs.pc = context->uc_mcontext.pc;
#endif
  return regs;
}

}  // namespace plimsoll::symbolize
