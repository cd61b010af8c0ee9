#include "worker/native_backend.h"

#include <gtest/gtest.h>

namespace servoir {
namespace {

std::shared_ptr<NativeBackend> load(const char* plugin) {
  auto loaded = NativeBackend::load(std::string(SERVOIR_FAKE_PLUGINS) + plugin, {});
  EXPECT_TRUE(loaded.ok()) << loaded.status().message();
  return loaded.ok() ? std::move(loaded).value() : nullptr;
}

std::vector<std::string> inputs_of(const Result<std::unique_ptr<Model>>& opened) {
  std::vector<std::string> names;
  EXPECT_TRUE(opened.ok()) << opened.status().message();
  if (opened.ok()) {
    for (const ModelPort& port : opened.value()->inputs()) names.push_back(port.name);
  }
  return names;
}

NamedContent content(const std::string& name, std::string_view text) { return {name, std::as_bytes(std::span(text))}; }

using Names = std::vector<std::string>;

TEST(NativeBackendTest, OpensFilesByTheirPath) {
  const auto backend = load("libservoir_fake_plugin_new.so");
  EXPECT_EQ(backend->name(), "fake");
  EXPECT_EQ(backend->version(), "1.0");
  EXPECT_EQ(inputs_of(backend->open({"a.xml", "a.bin"}, "CPU", {{"threads", "2"}})),
            (Names{"path a.xml", "path a.bin", "threads=2"}));
  EXPECT_EQ(backend->open({"bad"}, "CPU", {}).status().message(), "bad is no model");
  EXPECT_EQ(backend->open({"a.xml"}, "GPU", {}).status().message(), "a.xml: there is no such device");
}

TEST(NativeBackendTest, OpensFilesInMemory) {
  const auto backend = load("libservoir_fake_plugin_new.so");
  EXPECT_EQ(inputs_of(backend->open_in_memory({content("a.xml", "<net>"), content("a.bin", "weights")}, "CPU",
                                              {{"threads", "2"}})),
            (Names{"a.xml: <net>", "a.bin: weights", "threads=2"}));
  EXPECT_EQ(backend->open_in_memory({content("a.xml", "")}, "CPU", {}).status().message(),
            "there is nothing in the file");
  EXPECT_EQ(backend->open_in_memory({content("a.xml", "<net>")}, "GPU", {}).status().message(),
            "a.xml: there is no such device");
}

TEST(NativeBackendTest, APlugInOfBeforeCanDoWhatItCould) {
  const auto backend = load("libservoir_fake_plugin_old.so");
  EXPECT_EQ(inputs_of(backend->open({"a.onnx"}, "CPU", {})), (Names{"path a.onnx"}));
  const auto opened = backend->open_in_memory({content("a.onnx", "text")}, "CPU", {});
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.status().code(), Code::kUnimplemented);
  EXPECT_EQ(opened.status().message(),
            "the plug-in of backend 'fake' cannot open a model from memory; build it against this Servoir's backend.h");
}

TEST(NativeBackendTest, OtherInterfacesAreRefused) {
  for (const char* plugin : {"libservoir_fake_plugin_short.so", "libservoir_fake_plugin_other.so"}) {
    const auto loaded = NativeBackend::load(std::string(SERVOIR_FAKE_PLUGINS) + plugin, {});
    ASSERT_FALSE(loaded.ok());
    EXPECT_NE(loaded.status().message().find("was built for another version of the plug-in interface than 1"),
              std::string::npos)
        << loaded.status().message();
  }
}

}  // namespace
}  // namespace servoir
