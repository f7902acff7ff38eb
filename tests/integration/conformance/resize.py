A = {"a": "64K 0+4K 60K+4K"}
MODES = ("off", "falloc", "full", "metadata", "bogus", "")
SIZES = "64K 65536 128K 65537 66000 +0 +1 +512 +4K +1.5k 1M +1G 7E 8E +8E +16E 9223372036854775296 9223372036854774784 0 -64K -65K -128K -0 x +x - + ++1 -+1 1X 0x20000 +0x1000 1e6 18446744073709551615".split()

CASES = (
    [(f"resize/to_{size}", A, [f"resize -f raw a {size}", "info a"]) for size in SIZES]
    + [
        (f"resize/shrink_to_{size}", A, [f"resize -f raw --shrink a {size}", "info a"])
        for size in ("32K", "-32K", "1", "1000", "-1", "0", "-64K", "-100K", "+4K", "64K", "512", "-")
    ]
    + [
        (f"resize/preallocation_{mode}", A, [f"resize -f raw --preallocation={mode} a 256K"])
        for mode in MODES
    ]
    + [
        (f"resize/preallocation_{mode}_odd", {"a": "1000 0+1000"}, [f"resize -f raw --preallocation={mode} a +1001"])
        for mode in MODES[:3]
    ]
    + [
        (f"resize/preallocation_{mode}_shrink", A, [f"resize -f raw --shrink --preallocation={mode} a 4K"])
        for mode in MODES[:3]
    ]
    + [
        ("resize/preallocation_same_size", A, ["resize -f raw --preallocation=full a 64K"]),
        ("resize/shrink_without_flag", A, ["resize -f raw a 32K"]),
        ("resize/shrink_without_flag_quiet", A, ["resize -q -f raw a 32K"]),
        ("resize/guessed", A, ["resize a 128K"]),
        ("resize/guessed_quiet", A, ["resize -q a 128K"]),
        ("resize/guessed_shrink", A, ["resize --shrink a 4K"]),
        ("resize/quiet", A, ["resize -q -f raw a 128K"]),
        ("resize/odd_file", {"a": "1000 0+1000"}, ["resize -f raw a +512", "info a"]),
        ("resize/odd_file_same", {"a": "1000 0+1000"}, ["resize -f raw a 1000"]),
        ("resize/odd_file_round", {"a": "1000 0+1000"}, ["resize -f raw a 1024"]),
        ("resize/odd_file_small", {"a": "1000 0+1000"}, ["resize -f raw --shrink a 100"]),
        ("resize/empty_file", {"a": "0"}, ["resize -f raw a 1M"]),
        ("resize/empty_file_by", {"a": "0"}, ["resize -f raw a +1M"]),
        ("resize/empty_file_minus", {"a": "0"}, ["resize -f raw a -1M"]),
        ("resize/no_operands", {}, ["resize"]),
        ("resize/one_operand", A, ["resize a"]),
        ("resize/only_size_like", {}, ["resize 1M"]),
        ("resize/three_operands", A, ["resize -f raw a 1M 2M"]),
        ("resize/size_then_option", A, ["resize -f raw a 1M -q"]),
        ("resize/size_then_shrink", A, ["resize -f raw a 4K --shrink"]),
        ("resize/minus_last", A, ["resize --shrink -f raw a -32K"]),
        ("resize/dashes", A, ["resize --shrink -f raw -- a -32K"]),
        ("resize/abbreviated", A, ["resize --pre=full -f raw a 128K", "resize --sh -f raw a 4K"]),
        ("resize/unknown_option", A, ["resize -Z a 1M", "resize --nosuch a 1M", "resize -U a 1M"]),
        ("resize/format_missing", A, ["resize a -f"]),
        ("resize/format_unknown", A, ["resize -f nosuch a 1M"]),
        ("resize/missing_file", {}, ["resize -f raw a 1M"]),
        ("resize/missing_file_guessed", {}, ["resize a 1M"]),
        ("resize/folder", {"a": "dir"}, ["resize -f raw a 1M"]),
        ("resize/bad_size_missing_file", {}, ["resize -f raw a x"]),
        ("resize/file_prefix", A, ["resize -f raw file:a 1M"]),
        ("resize/file_prefix_guessed", A, ["resize file:a 1M"]),
        ("resize/name_dash", {"-a": "64K"}, ["resize -f raw -- -a 1M"]),
        ("resize/name_newline", {"a\nb": "64K"}, [["resize", "a\nb", "1M"]]),
        ("resize/link", {"t": "64K 0+4K", "a": "-> t"}, ["resize -f raw a 1M"]),
        ("resize/huge_then_back", {"a": "4K 0+4K"}, ["resize -f raw a 1P", "resize -f raw --shrink a 4K"]),
    ]
    + [
        (f"resize/qcow2_{n}", {"a": f"qcow2 {size}"}, [f"resize {words}"])
        for n, (size, words) in enumerate((
            ("1M", "a 2M"), ("1M", "a +1M"), ("1M", "a 100G"), ("1M", "a 1P"), ("1M", "a 8E"), ("1M", "a 513"), ("1M", "a +513"),
            ("1M", "a 512K"), ("1M", "--shrink a 512K"), ("1M", "--shrink a -512K"), ("1M", "--shrink a 0"), ("1M", "a 1M"),
            ("1M", "--preallocation=metadata a 3M"), ("1M", "--preallocation=falloc a 3M"), ("1M", "--preallocation=full a 3M"),
            ("1M", "--preallocation=metadata a 1M"), ("1M", "--preallocation=full --shrink a 512K"), ("1M", "-f qcow2 a 2M"),
            ("1M", "-f raw a 2M"), ("1M", "-q a 2M"), ("1000", "a 2M"), ("0", "a 2M"), ("1G", "--shrink a 1M"),
        ))
    ]
)
