#include "plimsoll/runtime/symbolize/demangle.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace plimsoll::symbolize {
namespace {

// What a piece of the name is, and how it is written.
enum class Kind : uint8_t {
  kText,      // text
  kScope,     // a::b
  kTemplate,  // a<b>, b a kList
  kList,      // a, then the list b
  kPrefix,    // text a
  kSuffix,    // a text ("*", " const"); within a function type it goes before the parameters
  kFunction,  // a (b): return type and parameters
  kArray,     // a [text]
  kCtor,      // the last name of a
  kDtor,      // ~ the last name of a
  kPack,      // the list a, or nothing
};

struct Node {
  Kind kind;
  uint16_t length;
  const char* text;
  const Node* a;
  const Node* b;
};

// Recursive descent over the mangled name. Each Parse… returns null where the name is not what it
// expects; failure is final, but for the few places that go back on purpose.
class Parser {
 public:
  explicit Parser(std::string_view in) : in_(in) {}

  const Node* ParseSymbol() {
    if (!Eat("_Z")) return nullptr;
    const Node* n = ParseEncoding(/*top=*/true);
    if (n == nullptr) return nullptr;
    // What is left at the top are parameters, and a clone's name (".part.0", ".cold").
    const size_t dot = in_.find('.');
    if (dot == std::string_view::npos) return n;
    return Make(Kind::kSuffix, in_.substr(dot), n);
  }

 private:
  static constexpr int kNodes = 384;
  static constexpr int kSubstitutions = 96;
  static constexpr int kDepth = 48;

  struct Deeper {
    explicit Deeper(Parser& p) : parser(p) { ++parser.depth_; }
    ~Deeper() { --parser.depth_; }
    Parser& parser;
  };

  bool TooDeep() const { return depth_ > kDepth; }
  char Peek(size_t n = 0) const { return n < in_.size() ? in_[n] : '\0'; }
  bool Eat(std::string_view text) {
    if (in_.substr(0, text.size()) != text) return false;
    in_.remove_prefix(text.size());
    return true;
  }

  const Node* Make(Kind kind, std::string_view text, const Node* a = nullptr,
                   const Node* b = nullptr) {
    if (used_ == kNodes) return nullptr;
    Node& n = nodes_[used_++];
    n = {kind, static_cast<uint16_t>(text.size()), text.data(), a, b};
    return &n;
  }
  const Node* Text(std::string_view text) { return Make(Kind::kText, text); }

  // Notes what S_, S0_ … stand for. Returns n, or null where there are too many.
  const Node* Remember(const Node* n) {
    if (n == nullptr || substitutions_ == kSubstitutions) return nullptr;
    substitution_[substitutions_++] = n;
    return n;
  }

  static bool IsDigit(char c) { return c >= '0' && c <= '9'; }

  bool ParseNumber(size_t* out) {
    if (!IsDigit(Peek())) return false;
    size_t value = 0;
    while (IsDigit(Peek())) {
      value = value * 10 + static_cast<size_t>(Peek() - '0');
      if (value > 1'000'000) return false;
      in_.remove_prefix(1);
    }
    *out = value;
    return true;
  }

  // <seq-id> _ : nothing is 0, else base 36, plus one.
  bool ParseSequence(size_t* out) {
    size_t value = 0;
    bool any = false;
    while (Peek() != '_') {
      const char c = Peek();
      size_t digit;
      if (IsDigit(c)) {
        digit = static_cast<size_t>(c - '0');
      } else if (c >= 'A' && c <= 'Z') {
        digit = static_cast<size_t>(c - 'A') + 10;
      } else {
        return false;
      }
      value = value * 36 + digit;
      if (value > 1'000'000) return false;
      any = true;
      in_.remove_prefix(1);
    }
    in_.remove_prefix(1);
    *out = any ? value + 1 : 0;
    return true;
  }

  // At the top the parameters may stay unread. Elsewhere they end at an 'E'.
  const Node* ParseEncoding(bool top) {
    Deeper deeper(*this);
    if (TooDeep()) return nullptr;
    if (Peek() == 'T' || (Peek() == 'G' && Peek(1) != 'R')) {
      if (const Node* special = ParseSpecial()) return special;
      return nullptr;
    }
    bool is_template = false, has_return = false;
    const Node* name = ParseName(&is_template, &has_return);
    if (name == nullptr || top) return name;
    if (is_template && has_return && ParseType() == nullptr) return nullptr;
    while (!in_.empty() && Peek() != 'E' && Peek() != '.') {
      if (ParseType() == nullptr) return nullptr;
    }
    return name;
  }

  const Node* ParseSpecial() {
    static constexpr struct {
      std::string_view code, text;
    } kOfType[] = {{"TV", "vtable for "},
                   {"TT", "VTT for "},
                   {"TI", "typeinfo for "},
                   {"TS", "typeinfo name for "}};
    for (const auto& s : kOfType) {
      if (Eat(s.code)) {
        const Node* type = ParseType();
        return type == nullptr ? nullptr : Make(Kind::kPrefix, s.text, type);
      }
    }
    std::string_view text;
    if (Eat("GV")) {
      text = "guard variable for ";
    } else if (Eat("TW")) {
      text = "TLS wrapper function for ";
    } else if (Eat("TH")) {
      text = "TLS init function for ";
    } else if (Eat("Th")) {
      text = "non-virtual thunk to ";
      if (!SkipOffset()) return nullptr;
    } else if (Eat("Tv")) {
      text = "virtual thunk to ";
      if (!SkipOffset() || !SkipOffset()) return nullptr;
    } else if (Eat("Tc")) {
      text = "covariant return thunk to ";
      for (int i = 0; i < 2; ++i) {
        if (Eat("h")) {
          if (!SkipOffset()) return nullptr;
        } else if (Eat("v")) {
          if (!SkipOffset() || !SkipOffset()) return nullptr;
        } else {
          return nullptr;
        }
      }
    } else {
      return nullptr;
    }
    const Node* n = ParseEncoding(/*top=*/true);
    return n == nullptr ? nullptr : Make(Kind::kPrefix, text, n);
  }

  bool SkipOffset() {  // [n] <number> _
    Eat("n");
    size_t ignored;
    return ParseNumber(&ignored) && Eat("_");
  }

  // *is_template: it ends in template arguments. *has_return: its encoding tells a return type then
  // (not so for constructors, destructors and conversions).
  const Node* ParseName(bool* is_template, bool* has_return) {
    Deeper deeper(*this);
    if (TooDeep()) return nullptr;
    *has_return = true;
    if (Peek() == 'N') return ParseNested(is_template, has_return);
    if (Peek() == 'Z') return ParseLocal(is_template, has_return);
    const Node* name;
    if (Peek() == 'S' && Peek(1) != 't') {
      name = ParseSubstitution();
      if (Peek() != 'I') return name;  // not a function's name, but a type's
    } else {
      const bool in_std = Eat("St");
      name = ParseUnqualified(nullptr);
      if (name != nullptr && in_std) name = Make(Kind::kScope, "", Text("std"), name);
      if (name != nullptr && Peek() == 'I') name = Remember(name);
    }
    if (name == nullptr) return nullptr;
    if (Peek() == 'I') {
      const Node* arguments = ParseTemplateArguments();
      if (arguments == nullptr) return nullptr;
      *is_template = true;
      return Make(Kind::kTemplate, "", name, arguments);
    }
    return name;
  }

  const Node* ParseNested(bool* is_template, bool* has_return) {
    Eat("N");
    while (Eat("r") || Eat("V") || Eat("K")) {
    }
    if (!Eat("R")) Eat("O");
    const Node* at = nullptr;
    bool last_template = false;
    while (!Eat("E")) {
      if (in_.empty()) return nullptr;
      const char c = Peek();
      last_template = false;
      if (c == 'S' && Peek(1) != 't') {
        if (at != nullptr) return nullptr;
        at = ParseSubstitution();
        if (at == nullptr) return nullptr;
        continue;  // already remembered
      }
      if (c == 'I') {
        if (at == nullptr) return nullptr;
        const Node* arguments = ParseTemplateArguments();
        if (arguments == nullptr) return nullptr;
        at = Make(Kind::kTemplate, "", at, arguments);
        last_template = true;
      } else if (c == 'T' && at == nullptr) {
        at = ParseTemplateParam();
      } else if (c == 'D' && (Peek(1) == 't' || Peek(1) == 'T') && at == nullptr) {
        at = ParseType();
        if (at == nullptr) return nullptr;
        continue;
      } else if (c == 'M') {  // what came before is a variable whose initialiser holds a lambda
        Eat("M");
        if (at == nullptr) return nullptr;
        continue;
      } else {
        const bool in_std = at == nullptr && Eat("St");
        const bool special = (Peek() == 'C' && Peek(1) != '\0') ||
                             (Peek() == 'D' && IsDigit(Peek(1))) ||
                             (Peek() == 'c' && Peek(1) == 'v');
        const Node* part = ParseUnqualified(at);
        if (part == nullptr) return nullptr;
        if (special) *has_return = false;
        if (in_std) {
          at = Make(Kind::kScope, "", Text("std"), part);
        } else {
          at = at == nullptr ? part : Make(Kind::kScope, "", at, part);
        }
      }
      if (at == nullptr) return nullptr;
      if (Peek() != 'E' && Remember(at) == nullptr) return nullptr;
    }
    *is_template = last_template;
    return at;
  }

  const Node* ParseLocal(bool* is_template, bool* has_return) {
    Eat("Z");
    const Node* function = ParseEncoding(/*top=*/false);
    if (function == nullptr || !Eat("E")) return nullptr;
    if (Eat("s")) {
      SkipDiscriminator();
      return Make(Kind::kScope, "", function, Text("string literal"));
    }
    if (Eat("d")) {  // in a default argument
      size_t ignored;
      ParseNumber(&ignored);
      if (!Eat("_")) return nullptr;
    }
    const Node* entity = ParseName(is_template, has_return);
    if (entity == nullptr) return nullptr;
    SkipDiscriminator();
    return Make(Kind::kScope, "", function, entity);
  }

  void SkipDiscriminator() {
    if (Peek() != '_') return;
    size_t ignored;
    if (Peek(1) == '_') {
      Eat("__");
      ParseNumber(&ignored);
      Eat("_");
    } else if (IsDigit(Peek(1))) {
      in_.remove_prefix(2);
    }
  }

  const Node* ParseUnqualified(const Node* scope) {
    const Node* n = ParseUnqualifiedPart(scope);
    while (n != nullptr && Eat("B")) {  // ABI tags: [abi:cxx11] tells a reader nothing
      if (ParseSourceName() == nullptr) return nullptr;
    }
    return n;
  }

  const Node* ParseUnqualifiedPart(const Node* scope) {
    Deeper deeper(*this);
    if (TooDeep()) return nullptr;
    Eat("L");  // internal linkage
    const char c = Peek();
    if (IsDigit(c)) return ParseSourceName();
    if (c == 'C' && scope != nullptr) {
      Eat("C");
      const bool inheriting = Eat("I");
      if (Peek() < '1' || Peek() > '5') return nullptr;
      in_.remove_prefix(1);
      if (inheriting && ParseType() == nullptr) return nullptr;
      return Make(Kind::kCtor, "", scope);
    }
    if (c == 'D' && IsDigit(Peek(1)) && scope != nullptr) {
      in_.remove_prefix(2);
      return Make(Kind::kDtor, "", scope);
    }
    if (c == 'D' && Peek(1) == 'C') {  // structured binding
      Eat("DC");
      const Node* first = nullptr;
      while (!Eat("E")) {
        const Node* n = ParseSourceName();
        if (n == nullptr) return nullptr;
        if (first == nullptr) first = n;
      }
      return first;
    }
    if (Eat("Ul")) {
      while (!Eat("E")) {
        if (in_.empty() || ParseType() == nullptr) return nullptr;
      }
      return ParseUnnamed("{lambda#");
    }
    if (Eat("Ut")) return ParseUnnamed("{unnamed type#");
    return ParseOperatorName();
  }

  // [<number>] _ , counted from 1, then the closing brace.
  const Node* ParseUnnamed(std::string_view what) {
    size_t number = 0;
    const char* digits = in_.data();
    const bool any = IsDigit(Peek());
    if (any && !ParseNumber(&number)) return nullptr;
    (void)digits;
    if (!Eat("_")) return nullptr;
    number = any ? number + 2 : 1;
    if (numbers_used_ + 8 > sizeof(numbers_)) return nullptr;
    char* start = numbers_ + numbers_used_;
    size_t length = 0;
    char reversed[8];
    while (number != 0 && length < sizeof(reversed)) {
      reversed[length++] = static_cast<char>('0' + number % 10);
      number /= 10;
    }
    for (size_t i = 0; i < length; ++i) start[i] = reversed[length - 1 - i];
    numbers_used_ += length;
    const Node* n = Make(Kind::kPrefix, what, Text({start, length}));
    return n == nullptr ? nullptr : Make(Kind::kSuffix, "}", n);
  }

  const Node* ParseSourceName() {
    size_t length;
    if (!ParseNumber(&length) || length == 0 || length > in_.size()) return nullptr;
    std::string_view name = in_.substr(0, length);
    in_.remove_prefix(length);
    if (name.starts_with("_GLOBAL__N")) name = "(anonymous namespace)";
    return Text(name);
  }

  struct Operator {
    std::string_view code, text;
    int arity;  // in expressions; 0: not there
  };
  static constexpr Operator kOperators[] = {
      {"nw", " new", 0},      {"na", " new[]", 0}, {"dl", " delete", 0}, {"da", " delete[]", 0},
      {"aw", " co_await", 0}, {"ps", "+", 1},      {"ng", "-", 1},       {"ad", "&", 1},
      {"de", "*", 1},         {"co", "~", 1},      {"pl", "+", 2},       {"mi", "-", 2},
      {"ml", "*", 2},         {"dv", "/", 2},      {"rm", "%", 2},       {"an", "&", 2},
      {"or", "|", 2},         {"eo", "^", 2},      {"aS", "=", 2},       {"pL", "+=", 2},
      {"mI", "-=", 2},        {"mL", "*=", 2},     {"dV", "/=", 2},      {"rM", "%=", 2},
      {"aN", "&=", 2},        {"oR", "|=", 2},     {"eO", "^=", 2},      {"ls", "<<", 2},
      {"rs", ">>", 2},        {"lS", "<<=", 2},    {"rS", ">>=", 2},     {"eq", "==", 2},
      {"ne", "!=", 2},        {"lt", "<", 2},      {"gt", ">", 2},       {"le", "<=", 2},
      {"ge", ">=", 2},        {"ss", "<=>", 2},    {"nt", "!", 1},       {"aa", "&&", 2},
      {"oo", "||", 2},        {"pp", "++", 1},     {"mm", "--", 1},      {"cm", ",", 2},
      {"pm", "->*", 2},       {"pt", "->", 2},     {"cl", "()", 0},      {"ix", "[]", 2},
      {"qu", "?", 3},
  };

  const Node* ParseOperatorName() {
    if (Eat("cv")) {
      const Node* type = ParseType();
      return type == nullptr ? nullptr : Make(Kind::kPrefix, "operator ", type);
    }
    if (Eat("li")) {
      const Node* name = ParseSourceName();
      return name == nullptr ? nullptr : Make(Kind::kPrefix, "operator\"\" ", name);
    }
    for (const Operator& op : kOperators) {
      if (Eat(op.code)) return Make(Kind::kPrefix, "operator", Text(op.text));
    }
    return nullptr;
  }

  const Node* ParseSubstitution() {
    if (!Eat("S")) return nullptr;
    static constexpr struct {
      char code;
      std::string_view text;
    } kStd[] = {{'a', "std::allocator"}, {'b', "std::basic_string"}, {'s', "std::string"},
                {'i', "std::istream"},   {'o', "std::ostream"},      {'d', "std::iostream"}};
    for (const auto& s : kStd) {
      if (Peek() != s.code) continue;
      in_.remove_prefix(1);
      const Node* n = Text(s.text);
      if (n != nullptr && Peek() == 'B') {
        Eat("B");
        if (ParseSourceName() == nullptr) return nullptr;
        return Remember(n);
      }
      return n;
    }
    size_t index;
    if (!ParseSequence(&index) || index >= static_cast<size_t>(substitutions_)) return nullptr;
    return substitution_[index];
  }

  const Node* ParseTemplateParam() {
    size_t index;
    if (!Eat("T") || !ParseSequence(&index)) return nullptr;
    // Which argument it stands for is known where a list was read already; in a lambda's
    // parameters it is `auto`.
    const Node* list = arguments_;
    for (size_t i = 0; i < index && list != nullptr; ++i) list = list->b;
    return list != nullptr && list->a != nullptr ? list->a : Text("auto");
  }

  const Node* ParseTemplateArguments() {
    Deeper deeper(*this);
    if (TooDeep() || !Eat("I")) return nullptr;
    const Node* list = ParseArgumentsToE();
    if (list == nullptr) return nullptr;
    arguments_ = list->kind == Kind::kList ? list : nullptr;
    return list;
  }

  // Arguments up to 'E'. Empty: a kPack of nothing.
  const Node* ParseArgumentsToE() {
    Node* first = nullptr;
    Node* last = nullptr;
    while (!Eat("E")) {
      const Node* argument = ParseTemplateArgument();
      if (argument == nullptr) return nullptr;
      Node* link = const_cast<Node*>(Make(Kind::kList, "", argument));
      if (link == nullptr) return nullptr;
      if (last == nullptr) {
        first = link;
      } else {
        last->b = link;
      }
      last = link;
    }
    return first != nullptr ? first : Make(Kind::kPack, "");
  }

  const Node* ParseTemplateArgument() {
    if (in_.empty()) return nullptr;
    if (Eat("J")) {
      const Node* list = ParseArgumentsToE();
      return list == nullptr ? nullptr
                             : Make(Kind::kPack, "", list->kind == Kind::kList ? list : nullptr);
    }
    if (Eat("X")) {
      const Node* n = ParseExpression();
      return n != nullptr && Eat("E") ? n : nullptr;
    }
    if (Peek() == 'L') return ParseLiteral();
    return ParseType();
  }

  const Node* ParseLiteral() {
    if (!Eat("L")) return nullptr;
    if (Eat("_Z")) {
      const Node* n = ParseEncoding(/*top=*/false);
      return n != nullptr && Eat("E") ? n : nullptr;
    }
    if (Eat("b0E")) return Text("false");
    if (Eat("b1E")) return Text("true");
    const Node* type = ParseType();
    if (type == nullptr) return nullptr;
    const size_t end = in_.find('E');
    if (end == std::string_view::npos) return nullptr;
    std::string_view digits = in_.substr(0, end);
    in_.remove_prefix(end + 1);
    if (digits.empty()) return type;  // nullptr, or an unnamed constant of a class
    const Node* value = Text(digits);
    if (digits[0] == 'n') value = Make(Kind::kPrefix, "-", Text(digits.substr(1)));
    return value;
  }

  // The kinds that template arguments of real programs have. Others fail the whole name.
  const Node* ParseExpression() {
    Deeper deeper(*this);
    if (TooDeep() || in_.empty()) return nullptr;
    if (Peek() == 'L') return ParseLiteral();
    if (Peek() == 'T' && Peek(1) != 'L') return ParseTemplateParam();
    if (Eat("fp") || Eat("fL")) {  // a parameter of the function
      while (IsDigit(Peek()) || Peek() == 'p') in_.remove_prefix(1);
      return Eat("_") ? Text("parm") : nullptr;
    }
    if (Eat("sr")) {
      const Node* scope = ParseType();
      const Node* name = scope == nullptr ? nullptr : ParseUnqualified(scope);
      if (name == nullptr) return nullptr;
      const Node* n = Make(Kind::kScope, "", scope, name);
      if (n == nullptr || Peek() != 'I') return n;
      const Node* arguments = ParseTemplateArguments();
      return arguments == nullptr ? nullptr : Make(Kind::kTemplate, "", n, arguments);
    }
    if (Eat("st") || Eat("at")) return ParseType() != nullptr ? Text("sizeof(...)") : nullptr;
    if (Eat("sz") || Eat("az")) return ParseExpression() != nullptr ? Text("sizeof(...)") : nullptr;
    if (Eat("sZ")) {
      return (Peek() == 'T' ? ParseTemplateParam() : ParseExpression()) ? Text("sizeof...")
                                                                        : nullptr;
    }
    if (Eat("sp")) return ParseExpression();
    if (Eat("nx")) return ParseExpression() != nullptr ? Text("noexcept(...)") : nullptr;
    if (Eat("cv") || Eat("tl")) {
      const Node* type = ParseType();
      if (type == nullptr) return nullptr;
      if (!Eat("_")) return ParseExpression() != nullptr ? type : nullptr;
      while (!Eat("E")) {
        if (ParseExpression() == nullptr) return nullptr;
      }
      return type;
    }
    if (Eat("cl")) {
      const Node* callee = ParseExpression();
      if (callee == nullptr) return nullptr;
      while (!Eat("E")) {
        if (in_.empty() || ParseExpression() == nullptr) return nullptr;
      }
      return Make(Kind::kSuffix, "(...)", callee);
    }
    if (Eat("dt") || Eat("pt")) {
      const Node* object = ParseExpression();
      const Node* member = object == nullptr ? nullptr : ParseUnqualified(nullptr);
      return member == nullptr ? nullptr : Make(Kind::kScope, "", object, member);
    }
    if (IsDigit(Peek())) {
      const Node* n = ParseSourceName();
      if (n == nullptr || Peek() != 'I') return n;
      const Node* arguments = ParseTemplateArguments();
      return arguments == nullptr ? nullptr : Make(Kind::kTemplate, "", n, arguments);
    }
    for (const Operator& op : kOperators) {
      if (op.arity == 0 || !Eat(op.code)) continue;
      if (op.code == "pp" || op.code == "mm") Eat("_");
      const Node* n = nullptr;
      for (int i = 0; i < op.arity; ++i) {
        const Node* operand = ParseExpression();
        if (operand == nullptr) return nullptr;
        if (n == nullptr) n = operand;
      }
      return op.arity == 1 ? Make(Kind::kPrefix, op.text, n) : Text("...");
    }
    return nullptr;
  }

  // What a letter stands for.
  struct Letter {
    char code;
    std::string_view text;
  };
  static constexpr Letter kBuiltins[] = {
      {'v', "void"},        {'w', "wchar_t"},
      {'b', "bool"},        {'c', "char"},
      {'a', "signed char"}, {'h', "unsigned char"},
      {'s', "short"},       {'t', "unsigned short"},
      {'i', "int"},         {'j', "unsigned int"},
      {'l', "long"},        {'m', "unsigned long"},
      {'x', "long long"},   {'y', "unsigned long long"},
      {'n', "__int128"},    {'o', "unsigned __int128"},
      {'f', "float"},       {'d', "double"},
      {'e', "long double"}, {'g', "__float128"},
      {'z', "..."},
  };
  static constexpr Letter kModifiers[] = {
      {'P', "*"},         {'R', "&"},         {'O', "&&"},       {'K', " const"},
      {'V', " volatile"}, {'r', " restrict"}, {'C', " complex"},
  };

  static std::string_view TextOf(std::span<const Letter> letters, char code) {
    for (const Letter& letter : letters) {
      if (letter.code == code) return letter.text;
    }
    return {};
  }

  const Node* ParseType() {
    Deeper deeper(*this);
    if (TooDeep() || in_.empty()) return nullptr;
    const char c = Peek();
    if (const std::string_view builtin = TextOf(kBuiltins, c); !builtin.empty()) {
      in_.remove_prefix(1);
      return Text(builtin);
    }
    if (const std::string_view modifier = TextOf(kModifiers, c); !modifier.empty()) {
      return ParseModified(modifier);
    }
    switch (c) {
      case 'F':
        return ParseFunctionType();
      case 'A':
        return ParseArrayType();
      case 'M':
        return ParseMemberPointer();
      case 'T':
        if (Peek(1) == 's' || Peek(1) == 'u' || Peek(1) == 'e') {  // struct, union, enum
          in_.remove_prefix(2);
          return ParseClass();
        }
        return ParseParamType();
      case 'S':
        if (Peek(1) != 't') {
          const Node* n = ParseSubstitution();
          if (n == nullptr || Peek() != 'I') return n;
          const Node* arguments = ParseTemplateArguments();
          return arguments == nullptr ? nullptr : Remember(Make(Kind::kTemplate, "", n, arguments));
        }
        return ParseClass();
      case 'D':
        return ParseDType();
      case 'u': {
        Eat("u");
        return Remember(ParseSourceName());
      }
      default:
        return ParseClass();
    }
  }

  const Node* ParseModified(std::string_view text) {
    in_.remove_prefix(1);
    const Node* n = ParseType();
    return n == nullptr ? nullptr : Remember(Make(Kind::kSuffix, text, n));
  }

  const Node* ParseClass() {
    bool is_template = false, has_return = false;
    const Node* n = ParseName(&is_template, &has_return);
    return Remember(n);
  }

  const Node* ParseParamType() {
    const Node* n = Remember(ParseTemplateParam());
    if (n == nullptr || Peek() != 'I') return n;
    const Node* arguments = ParseTemplateArguments();
    return arguments == nullptr ? nullptr : Remember(Make(Kind::kTemplate, "", n, arguments));
  }

  const Node* ParseDType() {
    static constexpr struct {
      std::string_view code, text;
    } kTypes[] = {{"Dn", "std::nullptr_t"}, {"Da", "auto"},      {"Dc", "decltype(auto)"},
                  {"Di", "char32_t"},       {"Ds", "char16_t"},  {"Du", "char8_t"},
                  {"Dh", "half"},           {"Dd", "decimal64"}, {"De", "decimal128"},
                  {"Df", "decimal32"}};
    for (const auto& t : kTypes) {
      if (Eat(t.code)) return Text(t.text);
    }
    if (Eat("Dp")) return Remember(ParseType());  // a pack: written as its element
    if (Eat("Dt") || Eat("DT")) {
      const Node* n = ParseExpression();
      return n != nullptr && Eat("E") ? Remember(Text("decltype(...)")) : nullptr;
    }
    if (Peek(1) == 'o' || Peek(1) == 'O' || Peek(1) == 'w' || Peek(1) == 'x')
      return ParseFunctionType();
    return nullptr;
  }

  const Node* ParseFunctionType() {
    Eat("Dx");
    if (Eat("DO")) {  // noexcept(expression)
      if (ParseExpression() == nullptr || !Eat("E")) return nullptr;
    } else {
      Eat("Do");  // noexcept
    }
    if (!Eat("F")) return nullptr;
    Eat("Y");
    const Node* result = ParseType();
    if (result == nullptr) return nullptr;
    Node* first = nullptr;
    Node* last = nullptr;
    while (!Eat("E")) {
      if (Eat("RE") || Eat("OE")) break;
      const Node* parameter = ParseType();
      if (parameter == nullptr) return nullptr;
      if (parameter->kind == Kind::kText &&
          std::string_view(parameter->text, parameter->length) == "void") {
        continue;
      }
      Node* link = const_cast<Node*>(Make(Kind::kList, "", parameter));
      if (link == nullptr) return nullptr;
      if (last == nullptr) {
        first = link;
      } else {
        last->b = link;
      }
      last = link;
    }
    return Remember(Make(Kind::kFunction, "", result, first));
  }

  const Node* ParseArrayType() {
    Eat("A");
    const size_t end = in_.find('_');
    if (end == std::string_view::npos) return nullptr;
    std::string_view count = in_.substr(0, end);
    if (!count.empty() && !IsDigit(count[0])) {
      if (ParseExpression() == nullptr || !Eat("_")) return nullptr;
      count = "...";
    } else {
      in_.remove_prefix(end + 1);
    }
    const Node* element = ParseType();
    return element == nullptr ? nullptr : Remember(Make(Kind::kArray, count, element));
  }

  const Node* ParseMemberPointer() {
    Eat("M");
    const Node* of = ParseType();
    const Node* member = of == nullptr ? nullptr : ParseType();
    if (member == nullptr) return nullptr;
    const Node* star = Make(Kind::kScope, "", of, Text("*"));
    return Remember(
        Make(Kind::kPack, "", Make(Kind::kList, "", member, Make(Kind::kList, "", star))));
  }

  std::string_view in_;
  int depth_ = 0;
  int used_ = 0;
  int substitutions_ = 0;
  const Node* arguments_ = nullptr;  // of the innermost template read last
  Node nodes_[kNodes];
  const Node* substitution_[kSubstitutions];
  char numbers_[96];
  size_t numbers_used_ = 0;
};

class Writer {
 public:
  explicit Writer(std::span<char> out) : out_(out) {}

  void Write(const Node* n, int template_depth) {
    if (n == nullptr || full_ || ++steps_ > 4000) return;
    const std::string_view text(n->text, n->length);
    switch (n->kind) {
      case Kind::kText:
        Add(text);
        return;
      case Kind::kScope:
        Write(n->a, template_depth);
        Add("::");
        Write(n->b, template_depth);
        return;
      case Kind::kTemplate:
        Write(n->a, template_depth);
        Add("<");
        if (template_depth >= 2) {
          Add("...");
        } else {
          Write(n->b, template_depth + 1);
        }
        Add(">");
        return;
      case Kind::kList: {
        bool first = true;
        for (const Node* at = n; at != nullptr && !full_ && ++steps_ <= 4000; at = at->b) {
          if (at->a->kind == Kind::kPack && at->a->a == nullptr) continue;  // an empty pack
          if (!first) Add(", ");
          first = false;
          Write(at->a, template_depth);
        }
        return;
      }
      case Kind::kPrefix:
        Add(text);
        Write(n->a, template_depth);
        return;
      case Kind::kSuffix:
        // A pointer to a function has its star among the parameters' brackets.
        if (n->a->kind == Kind::kFunction) {
          Write(n->a->a, template_depth);
          Add(" (");
          Add(text);
          Add(")(");
          Write(n->a->b, template_depth);
          Add(")");
          return;
        }
        Write(n->a, template_depth);
        Add(text);
        return;
      case Kind::kFunction:
        Write(n->a, template_depth);
        Add(" (");
        Write(n->b, template_depth);
        Add(")");
        return;
      case Kind::kArray:
        Write(n->a, template_depth);
        Add(" [");
        Add(text);
        Add("]");
        return;
      case Kind::kCtor:
        Write(LastName(n->a), template_depth);
        return;
      case Kind::kDtor:
        Add("~");
        Write(LastName(n->a), template_depth);
        return;
      case Kind::kPack:
        Write(n->a, template_depth);
        return;
    }
  }

  std::string_view Finish() {
    if (full_ && out_.size() >= 3) memcpy(out_.data() + out_.size() - 3, "...", 3);
    return {out_.data(), size_};
  }

 private:
  static const Node* LastName(const Node* n) {
    while (n->kind == Kind::kScope || n->kind == Kind::kTemplate) {
      n = n->kind == Kind::kScope ? n->b : n->a;
    }
    return n;
  }

  void Add(std::string_view text) {
    const size_t room = out_.size() - size_;
    if (text.size() > room) {
      text = text.substr(0, room);
      full_ = true;
    }
    memcpy(out_.data() + size_, text.data(), text.size());
    size_ += text.size();
  }

  std::span<char> out_;
  size_t size_ = 0;
  int steps_ = 0;
  bool full_ = false;
};

}  // namespace

std::string_view Demangle(std::string_view mangled, std::span<char> out) {
  if (!mangled.starts_with("_Z") || mangled.size() > 32000) return mangled;
  Parser parser(mangled);
  const Node* name = parser.ParseSymbol();
  if (name == nullptr) return mangled;
  Writer writer(out);
  writer.Write(name, 0);
  return writer.Finish();
}

}  // namespace plimsoll::symbolize
