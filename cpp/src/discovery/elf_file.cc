#include "discovery/elf_file.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/unique_fd.h"

namespace servoir {
namespace {

#if defined(__x86_64__)
constexpr unsigned kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr unsigned kMachine = EM_AARCH64;
#else
#error "add this machine's ELF number"
#endif

std::string machine_name(unsigned machine) {
  switch (machine) {
    case EM_386:
      return "x86 (32 bit)";
    case EM_X86_64:
      return "x86-64";
    case EM_ARM:
      return "ARM (32 bit)";
    case EM_AARCH64:
      return "AArch64";
    case EM_PPC64:
      return "PowerPC 64";
    case EM_RISCV:
      return "RISC-V";
    case EM_S390:
      return "S/390";
    default:
      return "ELF machine " + std::to_string(machine);
  }
}

// A file and its size. A reference beyond its end means that the file is truncated.
class ElfReader {
 public:
  ElfReader(int fd, std::uint64_t size) : fd_(fd), size_(size) {}

  [[nodiscard]] Status read(std::uint64_t offset, void* into, std::size_t bytes) const {
    if (offset > size_ || bytes > size_ - offset) return truncated(offset, bytes);
    const ssize_t got = ::pread(fd_, into, bytes, static_cast<off_t>(offset));
    if (got < 0) return Status::FromErrno("cannot be read", errno);
    return static_cast<std::size_t>(got) == bytes ? Status::Ok() : truncated(offset, bytes);
  }

  [[nodiscard]] Status check_extent(std::uint64_t offset, std::uint64_t bytes) const {
    return offset > size_ || bytes > size_ - offset ? truncated(offset, bytes) : Status::Ok();
  }

  // At most `most` bytes of the text that ends with a NUL.
  [[nodiscard]] Result<std::string> read_text(std::uint64_t offset, std::uint64_t most) const {
    std::string text(std::min<std::uint64_t>({most, kLongestName, size_ - std::min(size_, offset)}), '\0');
    SERVOIR_RETURN_IF_ERROR(read(offset, text.data(), text.size()));
    text.resize(std::min(text.find('\0'), text.size()));
    return text;
  }

 private:
  static constexpr std::uint64_t kLongestName = 4096;

  [[nodiscard]] Status truncated(std::uint64_t offset, std::uint64_t bytes) const {
    return Status::FailedPrecondition("is truncated or damaged: the file has " + std::to_string(size_) +
                                      " bytes, but its headers speak of " + std::to_string(bytes) + " at " +
                                      std::to_string(offset));
  }

  int fd_;
  std::uint64_t size_;
};

Status check_header(const Elf64_Ehdr& header) {
  const bool little = header.e_ident[EI_DATA] == ELFDATA2LSB;
  if (little != (std::endian::native == std::endian::little)) {
    return Status::FailedPrecondition(std::string("is ") + (little ? "little" : "big") +
                                      "-endian, unlike this machine");
  }
  if (header.e_machine != kMachine || header.e_ident[EI_CLASS] != ELFCLASS64) {
    const bool same = header.e_machine == kMachine;  // the machine, but not the class: x32, ILP32
    return Status::FailedPrecondition("is built for " + machine_name(header.e_machine) +
                                      (same ? " with 32 bit pointers" : "") + ", this process is " +
                                      machine_name(kMachine));
  }
  if (header.e_type != ET_DYN) {
    return Status::FailedPrecondition("is not a shared object (ELF type " + std::to_string(header.e_type) + ")");
  }
  if (header.e_phentsize != sizeof(Elf64_Phdr)) {
    return Status::FailedPrecondition("is damaged: its program headers have " + std::to_string(header.e_phentsize) +
                                      " bytes each instead of " + std::to_string(sizeof(Elf64_Phdr)));
  }
  return Status::Ok();
}

// The offset in the file of what is loaded at `address`.
Result<std::uint64_t> file_offset(const std::vector<Elf64_Phdr>& headers, std::uint64_t address) {
  for (const Elf64_Phdr& header : headers) {
    if (header.p_type == PT_LOAD && address >= header.p_vaddr && address - header.p_vaddr < header.p_filesz) {
      return header.p_offset + (address - header.p_vaddr);
    }
  }
  return Status::FailedPrecondition("is damaged: the names in it lie outside of what is loaded");
}

Result<SharedObject> read_dynamic(const ElfReader& file, const std::vector<Elf64_Phdr>& headers,
                                  const Elf64_Phdr& dynamic) {
  std::vector<Elf64_Dyn> entries(dynamic.p_filesz / sizeof(Elf64_Dyn));
  SERVOIR_RETURN_IF_ERROR(file.read(dynamic.p_offset, entries.data(), entries.size() * sizeof(Elf64_Dyn)));
  std::uint64_t names = 0;
  std::uint64_t names_bytes = 0;
  for (const Elf64_Dyn& entry : entries) {
    if (entry.d_tag == DT_NULL) break;
    if (entry.d_tag == DT_STRTAB) names = entry.d_un.d_ptr;
    if (entry.d_tag == DT_STRSZ) names_bytes = entry.d_un.d_val;
  }
  SERVOIR_ASSIGN_OR_RETURN(const std::uint64_t names_offset, file_offset(headers, names));
  SharedObject object;
  for (const Elf64_Dyn& entry : entries) {
    if (entry.d_tag == DT_NULL) break;
    if (entry.d_tag != DT_SONAME && entry.d_tag != DT_NEEDED) continue;
    if (entry.d_un.d_val >= names_bytes)
      return Status::FailedPrecondition("is damaged: a name lies outside of its names");
    SERVOIR_ASSIGN_OR_RETURN(std::string name,
                             file.read_text(names_offset + entry.d_un.d_val, names_bytes - entry.d_un.d_val));
    if (entry.d_tag == DT_SONAME) {
      object.soname = std::move(name);
    } else {
      object.needed.push_back(std::move(name));
    }
  }
  return object;
}

}  // namespace

Result<SharedObject> read_shared_object(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a pipe would wait for its writer
  if (!fd.valid()) return Status::NotFound(std::string("cannot be opened: ") + std::strerror(errno));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return Status::FromErrno("cannot be examined", errno);
  if (!S_ISREG(info.st_mode)) return Status::FailedPrecondition("is not a regular file");

  // The fields that are looked at first lie at the same places in 32 and 64 bit headers.
  Elf64_Ehdr header{};
  const ssize_t got = ::pread(fd.get(), &header, sizeof(header), 0);
  if (got < 0) return Status::FromErrno("cannot be read", errno);
  if (got == 0) return Status::FailedPrecondition("is empty");
  if (static_cast<std::size_t>(got) < SELFMAG || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
    return Status::FailedPrecondition("is not an ELF file (" + std::to_string(info.st_size) +
                                      " bytes); a linker script or a broken download?");
  }
  const ElfReader file(fd.get(), static_cast<std::uint64_t>(info.st_size));
  const bool wide = header.e_ident[EI_CLASS] == ELFCLASS64;
  SERVOIR_RETURN_IF_ERROR(file.check_extent(0, wide ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)));
  SERVOIR_RETURN_IF_ERROR(check_header(header));

  std::vector<Elf64_Phdr> headers(header.e_phnum);
  SERVOIR_RETURN_IF_ERROR(file.read(header.e_phoff, headers.data(), headers.size() * sizeof(Elf64_Phdr)));
  const Elf64_Phdr* dynamic = nullptr;
  for (const Elf64_Phdr& part : headers) {
    if (part.p_type == PT_LOAD || part.p_type == PT_DYNAMIC) {
      SERVOIR_RETURN_IF_ERROR(file.check_extent(part.p_offset, part.p_filesz));
    }
    if (part.p_type == PT_DYNAMIC) dynamic = &part;
  }
  if (dynamic == nullptr) return Status::FailedPrecondition("is damaged: it has no dynamic section");
  return read_dynamic(file, headers, *dynamic);
}

}  // namespace servoir
