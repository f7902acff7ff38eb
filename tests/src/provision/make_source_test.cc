#include "src/provision/make_source.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include "io/memory_file.h"
#include "io/ring.h"

namespace platter::provision {
namespace {

TEST(MakeSource, SyntaxTellsTheKind) {
  EXPECT_EQ(make_source("https://u:p@h/x?y").value()->name(), "https://h/x");
  EXPECT_TRUE(make_source("http://h/x").value()->resumable());
  EXPECT_EQ(make_source("/a b").value()->local_path(), "/a b");
  EXPECT_EQ(make_source("./fd:3").value()->local_path(), "./fd:3");
  EXPECT_EQ(make_source("./http://x").value()->local_path(), "./http://x");
}

TEST(MakeSource, WhatIsNothingIsRefusedAndTellsNoSecret) {
  for (const char* text :
       {"", "file:///etc/shadow", "ftp://u:secret@h/", "http://h:port/secret?secret", "fd:", "fd:x",
        "fd:-1", "fd:1x", "fd:1048570", "scp://secret@h/"}) {
    const auto source = make_source(text);
    ASSERT_FALSE(source) << text;
    EXPECT_EQ(source.error().kind(), ErrorKind::invalid_argument);
    EXPECT_EQ(source.error().message().find("secret"), std::string::npos)
        << source.error().message();
  }
}

TEST(MakeSource, ADescriptorIsCopied) {
  const auto ring = Ring::create().value();
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(::write(ends[1], "abc", 3), 3);
  ::close(ends[1]);
  const auto source = make_source("fd:" + std::to_string(ends[0])).value();
  ::close(ends[0]);
  MemoryFile target;
  EXPECT_EQ(ring->run(source->fetch(target, {})).value().size, 3U);
}

}  // namespace
}  // namespace platter::provision
