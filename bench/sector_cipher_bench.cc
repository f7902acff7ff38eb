// Sectors encrypted and decrypted in memory, beside OpenSSL's own loop over one context
// (`openssl speed -evp aes-256-xts -bytes 512`, and 4096).
#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>

#include "crypto/key_hash.h"
#include "crypto/sector_cipher.h"

namespace platter {
namespace {

constexpr std::size_t kRun = std::size_t{16} << 10;

std::unique_ptr<SectorCipher> make_cipher(std::string_view name, std::string_view mode,
                                          std::size_t key_size, std::uint32_t sector_size) {
  Secret key = Secret::make(key_size).value();
  if (!random_bytes(key.writable())) return nullptr;
  return SectorCipher::create(parse_cipher_spec(name, mode, key_size).value(), std::move(key),
                              sector_size)
      .value();
}

void measure(benchmark::State& state, SectorCipher& cipher, bool encrypts) {
  std::vector<std::byte> bytes(kRun);
  for (auto _ : state) {
    const Result<void> done = encrypts ? cipher.encrypt(1000, bytes, bytes.data())
                                       : cipher.decrypt(1000, bytes, bytes.data());
    if (!done) state.SkipWithError("the cipher fails");
    benchmark::DoNotOptimize(bytes.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                          static_cast<std::int64_t>(kRun));
}

void aes_xts_encrypt(benchmark::State& state) {
  measure(state, *make_cipher("aes", "xts-plain64", 64, static_cast<std::uint32_t>(state.range(0))),
          true);
}
void aes_xts_decrypt(benchmark::State& state) {
  measure(state, *make_cipher("aes", "xts-plain64", 64, static_cast<std::uint32_t>(state.range(0))),
          false);
}
BENCHMARK(aes_xts_encrypt)->Arg(512)->Arg(4096);
BENCHMARK(aes_xts_decrypt)->Arg(512)->Arg(4096);

void aes_cbc_essiv_decrypt(benchmark::State& state) {
  measure(state, *make_cipher("aes", "cbc-essiv:sha256", 32, 512), false);
}
BENCHMARK(aes_cbc_essiv_decrypt);

void serpent_xts_decrypt(benchmark::State& state) {
  measure(state, *make_cipher("serpent", "xts-plain64", 64, 512), false);
}
BENCHMARK(serpent_xts_decrypt);

}  // namespace
}  // namespace platter
