// Preloaded into User Mode Linux 6.1 on hosts whose CPU has AMX.
//
// UML keeps its processes' extended registers in a buffer of 2696 bytes and hands that to
// PTRACE_SETREGSET. A kernel whose registers take more (11008 bytes with AMX) refuses a short buffer
// with EFAULT, and UML panics: "ptrace set fp regs failed, errno 14". Here such a request is filled
// up with what the process has at present.
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

// glibc's ptrace() returns what a PEEK read; the system call stores it through `data`.
static long peek(long request, pid_t process, void* address) {
  long word = 0;
  if (syscall(SYS_ptrace, request, process, address, &word) < 0) return -1;
  errno = 0;
  return word;
}

static long set_registers(pid_t process, long set, struct iovec* given) {
  static char whole[65536] __attribute__((aligned(64)));
  struct iovec filled = {whole, sizeof whole};
  const long got = syscall(SYS_ptrace, PTRACE_GETREGSET, process, set, &filled);
  if (got < 0 || given->iov_len >= filled.iov_len) {
    return syscall(SYS_ptrace, PTRACE_SETREGSET, process, set, given);
  }
  memcpy(whole, given->iov_base, given->iov_len);
  return syscall(SYS_ptrace, PTRACE_SETREGSET, process, set, &filled);
}

long ptrace(enum __ptrace_request request, ...) {
  va_list arguments;
  va_start(arguments, request);
  const pid_t process = va_arg(arguments, pid_t);
  void* const address = va_arg(arguments, void*);
  void* const data = va_arg(arguments, void*);
  va_end(arguments);
  switch (request) {
    case PTRACE_PEEKTEXT:
    case PTRACE_PEEKDATA:
    case PTRACE_PEEKUSER: return peek(request, process, address);
    case PTRACE_SETREGSET:
      if ((long)address == NT_X86_XSTATE) return set_registers(process, (long)address, data);
      break;
    default: break;
  }
  return syscall(SYS_ptrace, request, process, address, data);
}
