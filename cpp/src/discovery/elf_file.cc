#include "discovery/elf_file.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>

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

}  // namespace

Status check_shared_object(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return Status::NotFound(std::string("cannot be opened: ") + std::strerror(errno));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return Status::FromErrno("cannot be examined", errno);
  if (!S_ISREG(info.st_mode)) return Status::FailedPrecondition("is not a regular file");

  // The fields used lie at the same places in 32 and 64 bit headers.
  Elf64_Ehdr header{};
  const ssize_t got = ::pread(fd.get(), &header, sizeof(header), 0);
  if (got < 0) return Status::FromErrno("cannot be read", errno);
  if (static_cast<std::size_t>(got) < sizeof(Elf32_Ehdr) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
    return Status::FailedPrecondition("is not an ELF file (" + std::to_string(info.st_size) +
                                      " bytes); a linker script or a broken download?");
  }
  const bool little = header.e_ident[EI_DATA] == ELFDATA2LSB;
  if (little != (std::endian::native == std::endian::little)) {
    return Status::FailedPrecondition(std::string("is ") + (little ? "little" : "big") +
                                      "-endian, unlike this machine");
  }
  if (header.e_machine != kMachine || header.e_ident[EI_CLASS] != ELFCLASS64) {
    return Status::FailedPrecondition("is built for " + machine_name(header.e_machine) + ", this process is " +
                                      machine_name(kMachine));
  }
  if (header.e_type != ET_DYN)
    return Status::FailedPrecondition("is not a shared object (ELF type " + std::to_string(header.e_type) + ")");
  return Status::Ok();
}

}  // namespace servoir
