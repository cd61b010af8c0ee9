#include "discovery/library_search.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "discovery/elf_file.h"

namespace servoir {
namespace {

namespace fs = std::filesystem;

Status accept_all(const std::string&, const LibraryReport&) { return Status::Ok(); }

// Path of a library that this process has loaded, so that it exists and is right for the machine.
std::string loaded_library(const std::string& part) {
  struct Wanted {
    std::string part;
    std::string path;
  } wanted{part, ""};
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        auto* w = static_cast<Wanted*>(data);
        if (std::string(info->dlpi_name).find(w->part) != std::string::npos) w->path = info->dlpi_name;
        return 0;
      },
      &wanted);
  return wanted.path;
}

class LibrarySearchTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "servoir-search-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    good_ = loaded_library("libm.so");
    ASSERT_FALSE(good_.empty());
  }
  void TearDown() override { fs::remove_all(root_); }

  fs::path directory(const std::string& name) {
    fs::create_directories(root_ / name);
    return root_ / name;
  }
  // A copy of the good library with its ELF header changed.
  void write_changed(const fs::path& path, void (*change)(Elf64_Ehdr*)) {
    fs::copy_file(good_, path, fs::copy_options::overwrite_existing);
    fs::permissions(path, fs::perms::owner_all);
    Elf64_Ehdr header{};
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.read(reinterpret_cast<char*>(&header), sizeof(header));
    change(&header);
    file.seekp(0);
    file.write(reinterpret_cast<const char*>(&header), sizeof(header));
  }

  fs::path root_;
  std::string good_;
};

TEST_F(LibrarySearchTest, TakesTheFirstPlaceThatHasIt) {
  const fs::path first = directory("first");
  const fs::path second = directory("second");
  fs::copy_file(good_, second / "libthing.so");
  const SearchOutcome outcome = find_library(
      {"a thing", {"libthing.so"}, {{first, "the user said so"}, {second, "site-packages"}}, true}, accept_all);
  EXPECT_EQ(outcome.path, second / "libthing.so");
  ASSERT_EQ(outcome.tried.size(), 2U);
  EXPECT_EQ(outcome.tried[0].path, first);
  EXPECT_EQ(outcome.tried[0].reason, "the user said so");
  EXPECT_EQ(outcome.tried[0].refusal, "has no libthing.so");
  EXPECT_EQ(outcome.tried[1].refusal, "");
}

TEST_F(LibrarySearchTest, NewestVersionFirstAndEachFileOnce) {
  const fs::path place = directory("libs");
  for (const char* name : {"libthing.so.9", "libthing.so.2460", "libthing.so.10"}) fs::copy_file(good_, place / name);
  fs::create_symlink("libthing.so.2460", place / "libthing.so");
  std::vector<std::string> asked;
  const SearchOutcome outcome = find_library({"a thing", {"libthing.so", "libthing.so.*"}, {{place, "test"}}, false},
                                             [&](const std::string& path, const LibraryReport&) {
                                               asked.push_back(fs::path(path).filename());
                                               return Status::FailedPrecondition("is not wanted");
                                             });
  EXPECT_FALSE(outcome.found());
  EXPECT_EQ(asked, (std::vector<std::string>{"libthing.so", "libthing.so.10", "libthing.so.9"}));
}

TEST_F(LibrarySearchTest, KeepsEveryRefusalWithItsReason) {
  const fs::path place = directory("libs");
  std::ofstream(place / "libthing.so.1")
      << "GROUP ( libthing.so.7 ) /* a linker script that is long enough to be read */";
  write_changed(place / "libthing.so.2",
                [](Elf64_Ehdr* h) { h->e_machine = h->e_machine == EM_AARCH64 ? EM_X86_64 : EM_AARCH64; });
  write_changed(place / "libthing.so.3", [](Elf64_Ehdr* h) { h->e_ident[EI_CLASS] = ELFCLASS32; });
  write_changed(place / "libthing.so.4", [](Elf64_Ehdr* h) { h->e_type = ET_EXEC; });
  write_changed(place / "libthing.so.5", [](Elf64_Ehdr* h) { h->e_phoff = 1U << 30U; });
  fs::create_directory(place / "libthing.so.6");
  fs::copy_file(good_, place / "libthing.so.7");
  const SearchOutcome outcome = find_library(
      {"a thing", {"libthing.so.*"}, {{root_ / "missing", "why not"}, {place, "test"}}, false},
      [](const std::string&, const LibraryReport&) { return Status::FailedPrecondition("has no symbol thing_open"); });
  EXPECT_FALSE(outcome.found());
  const std::string text = outcome.text();
  EXPECT_NE(text.find("/missing (why not): does not exist"), std::string::npos) << text;
  EXPECT_NE(text.find("libthing.so.7 (test): has no symbol thing_open"), std::string::npos) << text;
  EXPECT_NE(text.find("libthing.so.6 (test): is not a regular file"), std::string::npos) << text;
  EXPECT_NE(text.find("libthing.so.5 (test): is truncated or damaged: the file has"), std::string::npos) << text;
  EXPECT_NE(text.find("libthing.so.4 (test): is not a shared object"), std::string::npos) << text;
  EXPECT_NE(text.find("libthing.so.3 (test): is built for"), std::string::npos) << text;
  EXPECT_NE(text.find("libthing.so.2 (test): is built for"), std::string::npos) << text;
  EXPECT_NE(text.find("libthing.so.1 (test): is not an ELF file"), std::string::npos) << text;
}

TEST_F(LibrarySearchTest, APlaceMayBeTheFile) {
  const SearchOutcome outcome =
      find_library({"libm", {"libother.so"}, {{good_, "the user said so"}}, false}, accept_all);
  EXPECT_EQ(outcome.path, good_);
}

TEST_F(LibrarySearchTest, AsksTheLoaderLast) {
  const std::string name = fs::path(good_).filename();
  const SearchOutcome found = find_library({"libm", {name, "libm.so.*"}, {{root_, "test"}}, true}, accept_all);
  EXPECT_TRUE(fs::equivalent(found.path, good_)) << found.text();
  EXPECT_EQ(found.tried.back().reason, "the loader's own paths");
  const SearchOutcome not_asked = find_library({"libm", {name}, {{root_, "test"}}, false}, accept_all);
  EXPECT_FALSE(not_asked.found());
}

TEST_F(LibrarySearchTest, SaysThatThereWasNowhereToLook) {
  EXPECT_NE(find_library({"x", {"libx.so.*"}, {}, true}, accept_all).text().find("nowhere to look"), std::string::npos);
}

TEST_F(LibrarySearchTest, ADirectoryThatNobodyMayRead) {
  fs::permissions(root_, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  const fs::path place = directory("secret");
  fs::copy_file(good_, place / "libthing.so");
  fs::permissions(place, fs::perms::none);
  // The superuser may read everything: as somebody else, then.
  const uid_t me = ::geteuid();
  constexpr uid_t kNobody = 65534;
  ASSERT_EQ(::seteuid(me == 0 ? kNobody : me), 0);
  const SearchOutcome outcome = find_library({"a thing", {"libthing.so"}, {{place, "test"}}, false}, accept_all);
  ASSERT_EQ(::seteuid(me), 0);
  fs::permissions(place, fs::perms::owner_all);
  ASSERT_EQ(outcome.tried.size(), 1U);
  EXPECT_EQ(outcome.tried[0].refusal, "cannot be read: Permission denied");
}

TEST_F(LibrarySearchTest, AnotherLibraryUnderThisName) {
  const fs::path place = directory("libs");
  fs::copy_file(good_, place / "libthing.so");
  LibrarySearch search{"a thing", {"libthing.so"}, {{place, "test"}}, false};
  search.sonames = {"libthing.so", "libthing.so.*"};
  const SearchOutcome outcome = find_library(search, accept_all);
  EXPECT_EQ(outcome.tried[0].refusal,
            "is another library: its name (soname) is libm.so.6, not libthing.so, libthing.so.*");
  search.sonames = {"libm.so.*"};
  EXPECT_TRUE(find_library(search, accept_all).found());
}

TEST(ElfFileTest, RefusesWhatIsNoLibrary) {
  EXPECT_EQ(read_shared_object("/no/such/file").status().code(), Code::kNotFound);
  EXPECT_EQ(read_shared_object("/dev/null").status().code(), Code::kFailedPrecondition);
}

TEST_F(LibrarySearchTest, ReadsTheNamesInAFile) {
  const auto object = read_shared_object(good_);
  ASSERT_TRUE(object.ok()) << object.status().message();
  EXPECT_EQ(object.value().soname, "libm.so.6");
  EXPECT_NE(std::find(object.value().needed.begin(), object.value().needed.end(), "libc.so.6"),
            object.value().needed.end());
}

TEST_F(LibrarySearchTest, NoTruncatedFileIsTaken) {
  const fs::path file = root_ / "libthing.so";
  const std::uint64_t half = fs::file_size(good_) / 2;
  for (const std::uint64_t bytes : std::vector<std::uint64_t>{0, 3, 4, 51, 52, 63, 64, 100, 4096, half}) {
    fs::copy_file(good_, file, fs::copy_options::overwrite_existing);
    fs::permissions(file, fs::perms::owner_all);
    fs::resize_file(file, bytes);
    const auto object = read_shared_object(file);
    ASSERT_FALSE(object.ok()) << bytes;
    const std::string text(object.status().message());
    if (bytes == 0) {
      EXPECT_EQ(text, "is empty");
    } else if (bytes < 4) {
      EXPECT_NE(text.find("is not an ELF file"), std::string::npos) << text;
    } else {
      EXPECT_TRUE(text.starts_with("is truncated or damaged: the file has " + std::to_string(bytes) + " bytes"))
          << text;
    }
  }
}

TEST_F(LibrarySearchTest, DamagedNumbersAreRefused) {
  const fs::path file = root_ / "libthing.so";
  write_changed(file, [](Elf64_Ehdr* h) { h->e_phentsize = 1; });
  EXPECT_NE(read_shared_object(file).status().message().find("program headers have 1 bytes each"), std::string::npos);
  write_changed(file, [](Elf64_Ehdr* h) { h->e_phnum = 0; });
  EXPECT_NE(read_shared_object(file).status().message().find("no dynamic section"), std::string::npos);
  write_changed(file, [](Elf64_Ehdr* h) { h->e_phoff = ~0ULL; });
  EXPECT_NE(read_shared_object(file).status().message().find("truncated or damaged"), std::string::npos);
}

}  // namespace
}  // namespace servoir
