#include "io/zero.h"

#include <algorithm>
#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace platter {
namespace {

bool scan_scalar(const std::byte* bytes, std::size_t size) noexcept {
  while (size >= 32) {
    std::uint64_t word[4];
    std::memcpy(word, bytes, sizeof word);
    if ((word[0] | word[1] | word[2] | word[3]) != 0) return false;
    bytes += 32;
    size -= 32;
  }
  std::byte rest{0};
  for (; size > 0; --size) rest |= *bytes++;
  return rest == std::byte{0};
}

#if defined(__x86_64__)

// Each looks at the first and the last vector, which may overlap the loop's, so that no scalar tail
// is needed; then at 4 vectors a turn.

__attribute__((target("sse2"))) bool scan_sse2(const std::byte* bytes, std::size_t size) noexcept {
  constexpr std::size_t kVector = 16;
  if (size < kVector) return scan_scalar(bytes, size);
  auto load = [](const std::byte* at) __attribute__((target("sse2"))) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  };
  auto zero = [](__m128i v) __attribute__((target("sse2"))) {
    return _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128())) == 0xffff;
  };
  const std::byte* const last = bytes + size - kVector;
  if (!zero(_mm_or_si128(load(bytes), load(last)))) return false;
  for (; bytes + 4 * kVector <= last + kVector; bytes += 4 * kVector) {
    const __m128i a = _mm_or_si128(load(bytes), load(bytes + kVector));
    const __m128i b = _mm_or_si128(load(bytes + 2 * kVector), load(bytes + 3 * kVector));
    if (!zero(_mm_or_si128(a, b))) return false;
  }
  for (; bytes < last; bytes += kVector) {
    if (!zero(load(bytes))) return false;
  }
  return true;
}

__attribute__((target("avx2"))) bool scan_avx2(const std::byte* bytes, std::size_t size) noexcept {
  constexpr std::size_t kVector = 32;
  if (size < kVector) return scan_sse2(bytes, size);
  auto load = [](const std::byte* at) __attribute__((target("avx2"))) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  };
  auto zero = [](__m256i v)
                  __attribute__((target("avx2"))) { return _mm256_testz_si256(v, v) != 0; };
  const std::byte* const last = bytes + size - kVector;
  if (!zero(_mm256_or_si256(load(bytes), load(last)))) return false;
  for (; bytes + 4 * kVector <= last + kVector; bytes += 4 * kVector) {
    const __m256i a = _mm256_or_si256(load(bytes), load(bytes + kVector));
    const __m256i b = _mm256_or_si256(load(bytes + 2 * kVector), load(bytes + 3 * kVector));
    if (!zero(_mm256_or_si256(a, b))) return false;
  }
  for (; bytes < last; bytes += kVector) {
    if (!zero(load(bytes))) return false;
  }
  return true;
}

__attribute__((target("avx512f"))) bool scan_avx512(const std::byte* bytes,
                                                    std::size_t size) noexcept {
  constexpr std::size_t kVector = 64;
  if (size < kVector) return scan_avx2(bytes, size);
  auto load = [](const std::byte* at)
                  __attribute__((target("avx512f"))) { return _mm512_loadu_si512(at); };
  auto zero = [](__m512i v)
                  __attribute__((target("avx512f"))) { return _mm512_test_epi64_mask(v, v) == 0; };
  const std::byte* const last = bytes + size - kVector;
  if (!zero(_mm512_or_si512(load(bytes), load(last)))) return false;
  for (; bytes + 4 * kVector <= last + kVector; bytes += 4 * kVector) {
    const __m512i a = _mm512_or_si512(load(bytes), load(bytes + kVector));
    const __m512i b = _mm512_or_si512(load(bytes + 2 * kVector), load(bytes + 3 * kVector));
    if (!zero(_mm512_or_si512(a, b))) return false;
  }
  for (; bytes < last; bytes += kVector) {
    if (!zero(load(bytes))) return false;
  }
  return true;
}

#endif

struct Dispatch {
  std::array<ZeroScanner, 4> scanners{};
  std::size_t count = 0;
  Dispatch() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) scanners[count++] = {"avx512", scan_avx512};
    if (__builtin_cpu_supports("avx2")) scanners[count++] = {"avx2", scan_avx2};
    scanners[count++] = {"sse2", scan_sse2};
#endif
    scanners[count++] = {"scalar", scan_scalar};
  }
};
const Dispatch& dispatch() noexcept {
  static const Dispatch instance;
  return instance;
}

}  // namespace

std::span<const ZeroScanner> zero_scanners() noexcept {
  return std::span(dispatch().scanners).first(dispatch().count);
}

bool is_zero(std::span<const std::byte> bytes) noexcept {
  return dispatch().scanners[0].scan(bytes.data(), bytes.size());
}

std::size_t uniform_prefix(std::span<const std::byte> bytes, std::size_t block,
                           bool& zero) noexcept {
  const auto scan = dispatch().scanners[0].scan;
  std::size_t at = std::min(block, bytes.size());
  zero = scan(bytes.data(), at);
  while (at < bytes.size()) {
    const std::size_t size = std::min(block, bytes.size() - at);
    if (scan(bytes.data() + at, size) != zero) break;
    at += size;
  }
  return at;
}

}  // namespace platter
