// Runs a fuzz target once on each input of the corpora named on the command line.
//
// A corpus is a text with one input a line; \xNN stands for a byte, and is how newlines,
// backslashes and what cannot be read are written. Any compiler builds this: the corpus is a test
// everywhere, and libFuzzer is needed only to search for more.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

std::string Unescape(const std::string& line) {
  std::string input;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\' && i + 3 < line.size() && line[i + 1] == 'x' &&
        HexDigit(line[i + 2]) >= 0 && HexDigit(line[i + 3]) >= 0) {
      input += static_cast<char>(HexDigit(line[i + 2]) * 16 + HexDigit(line[i + 3]));
      i += 3;
    } else {
      input += line[i];
    }
  }
  return input;
}

void Run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

}  // namespace

int main(int argc, char** argv) {
  long inputs = 0;
  for (int i = 1; i < argc; ++i) {
    std::ifstream corpus(argv[i]);
    if (!corpus) {
      fprintf(stderr, "%s: cannot be opened\n", argv[i]);
      return 1;
    }
    for (std::string line; std::getline(corpus, line);) {
      const std::string input = Unescape(line);
      Run(input);
      // Every input cut short is one more: most real damage is a short read.
      for (size_t cut = 1; cut <= std::min<size_t>(input.size(), 256); ++cut) {
        Run(input.substr(0, input.size() - cut));
      }
      ++inputs;
    }
  }
  printf("replayed %ld inputs and their heads\n", inputs);
  return inputs > 0 ? 0 : 1;
}
