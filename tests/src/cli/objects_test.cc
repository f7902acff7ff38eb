#include "src/cli/objects.h"

#include <string>

#include <gtest/gtest.h>

namespace platter::cli {
namespace {

std::string data_of(const SecretObject& secret) {
  return {reinterpret_cast<const char*>(secret.data.data()), secret.data.size()};
}
std::string error(const std::vector<std::string>& definitions) {
  const Result<Objects> objects = make_objects(definitions);
  EXPECT_FALSE(objects);
  return objects ? "" : objects.error().message();
}

TEST(Objects, ASecretIsKeptAsItIsMeant) {
  const Result<Objects> objects =
      make_objects({"secret,id=a,data=x,,y",
                    R"({"qom-type":"secret","id":"b","data":"aGk=","format":"base64"})"});
  ASSERT_TRUE(objects) << objects.error().message();
  ASSERT_EQ(objects->secrets.size(), 2U);
  EXPECT_EQ(data_of(objects->secrets[0]), "x,y");
  EXPECT_EQ(data_of(objects->secrets[1]), "hi");
}

TEST(Objects, ASecretOnTheCommandLineIsWarnedAbout) {
  const Result<Objects> objects = make_objects({"secret,id=a,data=x"});
  ASSERT_TRUE(objects);
  ASSERT_EQ(objects->warnings.size(), 1U);
  EXPECT_EQ(objects->warnings[0].find("x"), std::string::npos) << "the secret itself is not told";
}

TEST(Objects, AnEncryptedSecretKeepsItsKeyAndVector) {
  const std::string key(32, 'k');
  const Result<Objects> objects = make_objects(
      {"secret,id=k,data=" + key, "secret,id=a,keyid=k,iv=AAAA,format=base64,data=aGk="});
  ASSERT_TRUE(objects) << objects.error().message();
  EXPECT_EQ(objects->secrets[1].keyid, "k");
  EXPECT_EQ(objects->secrets[1].iv, "AAAA");
  EXPECT_EQ(data_of(objects->secrets[1]), "hi");
  EXPECT_EQ(error({"secret,id=k,data=" + key, "secret,id=a,keyid=k,data=aGk="}),
            "IV is required to decrypt secret");
  EXPECT_EQ(error({"secret,id=a,keyid=k,iv=AAAA,data=aGk="}), "No secret with id 'k'");
}

TEST(Objects, OtherTypesAreRefused) {
  EXPECT_EQ(error({"iothread,id=a"}), "invalid object type: iothread");
  EXPECT_EQ(error({"nosuch,id=a"}), "Parameter 'qom-type' does not accept value 'nosuch'");
}

TEST(Objects, AFileThatNeverEndsIsRefused) {
  EXPECT_EQ(error({"secret,id=a,file=/dev/zero"}),
            "Unable to read /dev/zero: more than 1048576 bytes");
}

}  // namespace
}  // namespace platter::cli
