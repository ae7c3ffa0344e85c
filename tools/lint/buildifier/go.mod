// Pins buildifier by hash; tools/lint/run builds it with Debian's Go.
module plimsoll/tools/lint/buildifier

go 1.19

require github.com/bazelbuild/buildtools v0.0.0-20240313121412-66c605173954
