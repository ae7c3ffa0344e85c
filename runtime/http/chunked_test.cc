#include "plimsoll/runtime/http/chunked.h"

#include <memory>
#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace plimsoll::http {
namespace {

struct Decoded {
  bool ok = true;
  bool done = false;
  std::string body;
  size_t consumed = 0;
};

// Feeds `in` in pieces of `in_piece` bytes and drains it in pieces of `out_piece`.
Decoded DecodeAll(std::string_view in, size_t in_piece, size_t out_piece) {
  Decoded result;
  ChunkedDecoder decoder;
  std::unique_ptr<char[]> out(new char[out_piece]);
  size_t given = 0;
  while (!decoder.done()) {
    if (given < in.size()) given = std::min(in.size(), given + in_piece);
    bool moved = true;
    while (moved && !decoder.done()) {
      const auto step = decoder.Decode(in.substr(result.consumed, given - result.consumed),
                                       {out.get(), out_piece});
      result.consumed += step.consumed;
      result.body.append(out.get(), step.produced);
      if (!step.ok) {
        result.ok = false;
        return result;
      }
      moved = step.consumed > 0 || step.produced > 0;
    }
    if (given == in.size() && !moved) break;
  }
  result.done = decoder.done();
  return result;
}

TEST(ChunkedDecoderTest, GivesTheBodyHoweverItIsCut) {
  const std::string_view in =
      "5\r\nhello\r\nA;name=\"value; x\"\r\n, world...\r\n000f\r\n0123456789abcde\r\n"
      "0\r\nTrailer: one\r\nOther:\r\n\r\nNEXT";
  for (const size_t in_piece : {1, 2, 3, 7, 1000}) {
    for (const size_t out_piece : {1, 2, 5, 1000}) {
      SCOPED_TRACE(testing::Message() << in_piece << " in, " << out_piece << " out");
      const Decoded d = DecodeAll(in, in_piece, out_piece);
      ASSERT_TRUE(d.ok);
      EXPECT_TRUE(d.done);
      EXPECT_EQ(d.body, "hello, world...0123456789abcde");
      EXPECT_EQ(in.substr(d.consumed), "NEXT");
    }
  }
}

TEST(ChunkedDecoderTest, RefusesBrokenFraming) {
  const std::string_view kCases[] = {
      "\r\n",
      ";ext\r\n",
      "-1\r\n",
      "0x1\r\na\r\n",
      " 1\r\na\r\n0\r\n\r\n",
      "1 \r\na\r\n0\r\n\r\n",
      "1\na\r\n0\r\n\r\n",
      "1\r\na\n0\r\n\r\n",
      "1\r\nab\r\n0\r\n\r\n",
      "1\r\na0\r\n\r\n",
      "1\rXa\r\n0\r\n\r\n",
      "1;\n\r\na\r\n",
      std::string_view("1;\0\r\na\r\n", 8),
      "g\r\n",
      "11111111111111111\r\n",  // 17 digits
      "0\r\n folded: x\r\n\r\n",
      "0\r\nname : x\r\n\r\n",
      "0\r\nno colon\r\n\r\n",
      "0\r\n: x\r\n\r\n",
      "0\r\nx: a\rb\r\n\r\n",
      "0\r\nx: a\n\r\n",
      "0\r\n\n",
      "0\r\n\rX",
  };
  for (const std::string_view in : kCases) {
    for (const size_t piece : {size_t{1}, in.size()}) {
      SCOPED_TRACE(testing::PrintToString(in));
      const Decoded d = DecodeAll(in, piece, 100);
      EXPECT_FALSE(d.ok);
      EXPECT_FALSE(d.done);
    }
  }
}

TEST(ChunkedDecoderTest, IsNotDoneBeforeTheLastLineEnd) {
  const std::string_view whole = "3\r\nabc\r\n0\r\n\r\n";
  for (size_t cut = 0; cut < whole.size(); ++cut) {
    const Decoded d = DecodeAll(whole.substr(0, cut), cut + 1, 100);
    EXPECT_TRUE(d.ok) << cut;
    EXPECT_FALSE(d.done) << cut;
  }
  EXPECT_TRUE(DecodeAll(whole, 100, 100).done);
}

TEST(ChunkedDecoderTest, BoundsExtensionsAndTrailersOverTheWholeBody) {
  std::string in;
  // Each chunk is harmless; together they are over the bound.
  for (int i = 0; i < 100; ++i) in += "1;" + std::string(100, 'x') + "\r\na\r\n";
  in += "0\r\n\r\n";
  EXPECT_FALSE(DecodeAll(in, in.size(), 1000).ok);

  EXPECT_FALSE(DecodeAll("0\r\nname: " + std::string(9000, 'x') + "\r\n\r\n", 10000, 10).ok);
  EXPECT_FALSE(DecodeAll("0\r\n" + std::string(9000, 'x') + ": y\r\n\r\n", 10000, 10).ok);
  EXPECT_TRUE(DecodeAll("0\r\nname: " + std::string(8000, 'x') + "\r\n\r\n", 10000, 10).done);
}

TEST(ChunkedDecoderTest, ASizeOfSixteenDigitsDoesNotWrap) {
  const Decoded d = DecodeAll("ffffffffffffffff\r\nabc", 100, 100);
  EXPECT_TRUE(d.ok);
  EXPECT_FALSE(d.done);
  EXPECT_EQ(d.body, "abc");
}

TEST(AppendChunkTest, WhatItWritesIsDecodedAgain) {
  std::string out;
  AppendChunk("hello", out);
  AppendChunk("", out);
  AppendChunk(std::string(300, 'x'), out);
  out.append(kLastChunk);
  EXPECT_EQ(out.substr(0, 10), "5\r\nhello\r\n");
  const Decoded d = DecodeAll(out, 11, 13);
  EXPECT_TRUE(d.done);
  EXPECT_EQ(d.body, "hello" + std::string(300, 'x'));
}

}  // namespace
}  // namespace plimsoll::http
