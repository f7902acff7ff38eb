#include "src/provision/url_text.h"

#include <string>

#include <gtest/gtest.h>

namespace platter::provision {
namespace {

TEST(RedactedUrl, ShowsHostAndPathAlone) {
  EXPECT_EQ(redacted_url("https://user:secret@example.org:8443/a/b.img?token=secret#secret"),
            "https://example.org:8443/a/b.img");
  EXPECT_EQ(redacted_url("http://example.org/"), "http://example.org/");
  EXPECT_EQ(redacted_url("http://[::1]:80/x"), "http://[::1]:80/x");
  EXPECT_EQ(redacted_url("http://example.org/a@b"), "http://example.org/a@b");
}

// However it is spelled, "secret" does not come out.
TEST(RedactedUrl, NothingGetsPastIt) {
  for (const std::string& url : std::initializer_list<std::string>{
           "http://secret@host/",
           "http://u:secret@host",
           "http://u:se/secret@host/",
           "http://u:secret@secret@host/x",
           "http://host?secret",
           "http://host#secret",
           "http://host/?a=1&b=secret",
           "http://u:p secret@host/",
           "http://host/x?y z secret",
           "http://:secret@host/",
           "http://u:secret@",
           "http://u:secret",
           "x://u:secret@h/p?secret",
           "http://u:secret@[::1",
           "HTTP://u:secret@host/",
       }) {
    EXPECT_EQ(redacted_url(url).find("secret"), std::string::npos) << url << redacted_url(url);
    for (const std::string& text : {url, "'" + url + "': Not found", "could not get " + url}) {
      if (url.ends_with("u:secret")) continue;  // a host, for all we know
      EXPECT_EQ(redacted_text(text).find("secret"), std::string::npos) << redacted_text(text);
    }
  }
}

TEST(RedactedText, OtherTextStays) {
  EXPECT_EQ(redacted_text("no URL here?"), "no URL here?");
  EXPECT_EQ(redacted_text("'http://h/x': Not found"), "'http://h/x': Not found");
  EXPECT_EQ(redacted_text("http://h/x to https://i/y: no"), "http://h/x to https://i/y: no");
  EXPECT_EQ(redacted_text("'http://h/x?y': Not found"), "'http://h/x[...]");
  EXPECT_EQ(redacted_text("http://u:p q@h/x: no"), "http://[...]@h/x: no");
}

TEST(LooksLikeUrl, NeedsASchemeAtTheStart) {
  EXPECT_TRUE(looks_like_url("http://x"));
  EXPECT_TRUE(looks_like_url("svn+ssh://x"));
  EXPECT_FALSE(looks_like_url("/a/b://c"));
  EXPECT_FALSE(looks_like_url("://c"));
  EXPECT_FALSE(looks_like_url("a:/b"));
}

}  // namespace
}  // namespace platter::provision
