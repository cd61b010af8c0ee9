#include "native/native_backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace servoir {
namespace {

const TrialProgram kProgram{SERVOIR_TRIAL_PROGRAM, std::chrono::seconds(30)};

std::string plugin_file(const std::string& name) {
  return SERVOIR_FAKE_PLUGINS "libservoir_fake_plugin_" + name + ".so";
}

SearchPlace place(const std::string& folder) { return {SERVOIR_FAKE_LIBRARIES + folder, "test"}; }

std::shared_ptr<NativeBackend> load(const char* plugin) {
  auto loaded = NativeBackend::load(std::string(SERVOIR_FAKE_PLUGINS) + plugin, {}, kProgram);
  EXPECT_TRUE(loaded.ok()) << loaded.status().message();
  return loaded.ok() ? std::move(loaded).value() : nullptr;
}

std::vector<std::string> inputs_of(const Result<std::unique_ptr<Model>>& opened) {
  std::vector<std::string> names;
  EXPECT_TRUE(opened.ok()) << opened.status().message();
  if (opened.ok()) {
    for (const Port& port : opened.value()->inputs()) names.push_back(port.name);
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

TEST(NativeBackendTest, RefusesATypeThatTheInterfaceDoesNotHave) {
  const Status refused = load("libservoir_fake_plugin_new.so")->open({"texts"}, "CPU", {}).status();
  EXPECT_EQ(refused.code(), Code::kUnimplemented);
  EXPECT_EQ(
      refused.message(),
      "texts: input 0 'path texts' has the element type 13, which native backends cannot have: bool, integers of 8 "
      "to 64 bits, bfloat16 and float16, 32 and 64 can be served");
}

TEST(NativeBackendTest, BFloat16IsFloat32OutsideOfThePlugIn) {
  auto opened = load("libservoir_fake_plugin_new.so")->open({"bfloat16"}, "CPU", {});
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  Model& model = *opened.value();
  EXPECT_EQ(model.inputs()[0].dtype, DataType::kFloat32);
  EXPECT_EQ(model.outputs()[0].dtype, DataType::kFloat32);

  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> given = {1.0F, -2.5F, 1.0F + 0x1p-8F, 1.0F + 0x3p-8F, std::numeric_limits<float>::max()};
  const std::vector<float> expected = {1.0F, -2.5F, 1.0F, 1.0F + 0x1p-6F, infinity};
  for (const std::size_t count : {given.size(), std::size_t{0}, std::size_t{2}}) {
    for (const std::size_t room_for : {std::size_t{0}, std::size_t{1}, given.size()}) {
      Shape shape;
      shape.rank = 1;
      shape.dims[0] = static_cast<std::int64_t>(count);
      const ModelInput input{reinterpret_cast<std::byte*>(given.data()), count * sizeof(float), DataType::kFloat32,
                             shape};
      std::vector<float> room(given.size());
      auto* const at = room_for == 0 ? nullptr : reinterpret_cast<std::byte*>(room.data());
      ModelOutput output{at, room_for * sizeof(float), DataType::kFloat32, shape, true};
      const Status run = model.execute({&input, 1}, {&output, 1});
      ASSERT_TRUE(run.ok()) << run.message();
      EXPECT_EQ(output.dtype, DataType::kFloat32);
      EXPECT_EQ(output.shape.text(), shape.text());
      ASSERT_EQ(output.bytes, count * sizeof(float));
      ASSERT_NE(output.data, nullptr);
      EXPECT_EQ(output.data == at, room_for >= std::max<std::size_t>(count, 1)) << count << " in " << room_for;
      const auto* const result = reinterpret_cast<const float*>(output.data);
      for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(result[i], expected[i]);
    }
  }
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

TEST(NativeBackendTest, OtherInterfacesAreRefusedWithBothVersions) {
  const std::map<std::string, std::string> expected = {
      {"other", "was built for version 2 of the plug-in interface, this Servoir has version 1; rebuild it"},
      {"later", "was built for version 2 of the plug-in interface, this Servoir has version 1; rebuild it"},
      {"short", "was built for version 1 of the plug-in interface with a table of"},
  };
  for (const auto& [name, text] : expected) {
    for (const TrialProgram& program : {kProgram, TrialProgram{}}) {  // tried in a process of its own, and in this one
      const auto loaded = NativeBackend::load(plugin_file(name), {}, program);
      ASSERT_FALSE(loaded.ok());
      EXPECT_NE(loaded.status().message().find("the plug-in " + plugin_file(name) + " " + text), std::string::npos)
          << loaded.status().message();
    }
    EXPECT_NE(NativeBackend::examine(plugin_file(name), {}, kProgram).status.message().find(text), std::string::npos);
  }
}

TEST(NativeBackendTest, PlugInsAreJudgedLikeLibraries) {
  const std::map<std::string, std::string> expected = {
      {"aborts", "aborts when it is loaded (Aborted)"},
      {"exits", "ends the process when it is loaded (exit status 3)"},
      {"good", "is not a plug-in of this Servoir: it has no function servoir_backend_v1"},
  };
  for (const auto& [folder, text] : expected) {
    const std::string file = SERVOIR_FAKE_LIBRARIES + folder + "/libthing.so";
    const auto loaded = NativeBackend::load(file, {}, kProgram);
    ASSERT_FALSE(loaded.ok());
    EXPECT_NE(loaded.status().message().find("the plug-in " + file + " " + text), std::string::npos)
        << loaded.status().message();
  }
  EXPECT_EQ(NativeBackend::load("/no/plugin.so", {}, kProgram).status().message(),
            "the plug-in /no/plugin.so cannot be opened: No such file or directory");
}

TEST(NativeBackendTest, TakesTheVersionThatIsAskedForFirst) {
  for (const auto& [first, second, version] :
       {std::tuple("version1", "version2", "1.0"), std::tuple("version2", "version1", "2.0")}) {
    const BackendReport report =
        NativeBackend::examine(plugin_file("library"), {place(first), place(second)}, kProgram);
    EXPECT_TRUE(report.status.ok()) << report.status.message();
    EXPECT_EQ(report.version, version);
    EXPECT_EQ(report.search.path, place(first).path + "/libthing.so");
    EXPECT_EQ(report.devices, (Names{"CPU", "THING.1"}));
  }
  auto loaded = NativeBackend::load(plugin_file("library"), {place("version2"), place("version1")}, kProgram);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(loaded.value()->version(), "2.0");
  EXPECT_EQ(loaded.value()->search().path, place("version2").path + "/libthing.so");
  // Now libthing_part.so is that of version 2 for whatever needs one: the loader goes by names.
  loaded = NativeBackend::load(plugin_file("library"), {place("version1")}, kProgram);
  ASSERT_FALSE(loaded.ok());
  EXPECT_NE(loaded.status().message().find("version1/libthing.so (test): is version '1.0', but acts as '2.0' in this"
                                           " process, which has loaded another copy of a library that it needs"),
            std::string::npos)
      << loaded.status().message();
}

TEST(NativeBackendTest, GoesOnToTheNextWhereALibraryIsBroken) {
  std::vector<SearchPlace> places;
  for (const char* folder : {"aborts", "crashes", "exits", "lacks_a_function", "good", "version2"}) {
    places.push_back(place(folder));
  }
  auto loaded = NativeBackend::load(plugin_file("library"), places, kProgram);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  EXPECT_EQ(loaded.value()->version(), "2.0");
  const std::string text = loaded.value()->search().text();
  EXPECT_NE(text.find("good/libthing.so (test): is version 0; 1 or 2 is needed"), std::string::npos) << text;
  EXPECT_NE(text.find("version2/libthing.so (test): taken"), std::string::npos) << text;
}

TEST(NativeBackendTest, SaysWhatWasTriedWhereNothingIsFound) {
  const auto loaded = NativeBackend::load(plugin_file("library"), {place("aborts"), place("nowhere")}, kProgram);
  ASSERT_FALSE(loaded.ok());
  const BackendReport report =
      NativeBackend::examine(plugin_file("library"), {place("aborts"), place("nowhere")}, kProgram);
  EXPECT_EQ(report.name, "fake");
  EXPECT_EQ(report.status.message(), loaded.status().message());
  EXPECT_TRUE(report.status.message().starts_with("no usable library of backend 'fake' (libthing.so); tried:\n"));
  EXPECT_EQ(report.search.tried.size(), 3U) << report.search.text();  // and the loader's own paths
}

TEST(NativeBackendTest, LoadsWithoutATrialWhereTheProgramIsMissing) {
  const TrialProgram missing{"/no/such/program", std::chrono::seconds(30)};
  std::string directory = testing::TempDir() + "servoir-plugin-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string plugin = directory + "/plugin.so";  // that no other test has tried
  std::filesystem::copy_file(plugin_file("library"), plugin);
  const auto loaded = NativeBackend::load(plugin, {place("version2")}, missing);
  const BackendReport report = NativeBackend::examine(plugin, {place("version2")}, missing);
  std::filesystem::remove_all(directory);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  const std::string warning = "the program '/no/such/program' cannot be tried: No such file or directory";
  EXPECT_EQ(loaded.value()->search().warning, warning);
  EXPECT_EQ(report.status.message(), warning);
}

}  // namespace
}  // namespace servoir
