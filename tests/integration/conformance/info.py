def os_text(name):
    return name if isinstance(name, str) else name.decode("latin-1")


SIZES = (
    "0 1 511 512 513 1000 1023 1024 1500 4096 4097 100000 1000000 1023999 1024000 1048064 1048576 1572864 "
    "999999999 1072693248 1073741824 1099511627776 10995116277760 1000000000000"
).split()
LAYOUT = {"a": "1M 0+4K 64K+12K"}

CASES = (
    [(f"info/size_{size}", {"a": size}, ["info a", "info --output=json a"]) for size in SIZES]
    + [
        ("info/data", LAYOUT, ["info a", "info --output=json a"]),
        ("info/disk_sizes", {"a": "8M 0+1020K", "b": "8M 0+996K", "c": "8M 0+3M"}, ["info a", "info b", "info c"]),
        ("info/format_raw", LAYOUT, ["info -f raw a", "info --format=raw a", "info --format raw a"]),
        ("info/format_unknown", LAYOUT, ["info -f nosuch a"]),
        ("info/format_empty", LAYOUT, ["info -f '' a"]),
        ("info/output_human", LAYOUT, ["info --output=human a", "info --output human a"]),
        ("info/output_unknown", LAYOUT, ["info --output=xml a"]),
        ("info/output_empty", LAYOUT, ["info --output= a"]),
        ("info/output_missing", LAYOUT, ["info a --output"]),
        ("info/output_last_wins", LAYOUT, ["info --output=json --output=human a"]),
        ("info/abbreviated", LAYOUT, ["info --out=json a", "info --o json a", "info --form=raw a", "info --force a"]),
        ("info/ambiguous", LAYOUT, ["info --fo a"]),
        ("info/backing_chain", LAYOUT, ["info --backing-chain a", "info --backing-chain --output=json a"]),
        ("info/force_share", LAYOUT, ["info -U a", "info --force-share --output=json a"]),
        ("info/one_dash_long", LAYOUT, ["info -output=json a"]),
        ("info/no_operands", {}, ["info"]),
        ("info/two_operands", {"a": "1K", "b": "1K"}, ["info a b"]),
        ("info/unknown_option", LAYOUT, ["info -q a", "info --nosuch a"]),
        ("info/missing_file", {}, ["info a", "info -f raw a", "info --output=json a"]),
        ("info/missing_folder", {}, ["info no/a"]),
        ("info/folder", {"a": "dir"}, ["info a"]),
        ("info/empty_name", {}, ["info ''"]),
        ("info/file_prefix", LAYOUT, ["info file:a", "info --output=json file:a"]),
        ("info/file_prefix_alone", {}, ["info file:"]),
        ("info/protocol", {}, ["info nosuch:a"]),
        ("info/link", {"t": "1M", "a": "-> t"}, ["info a"]),
        ("info/dangling_link", {"a": "-> t"}, ["info a"]),
        ("info/dash_name", {"-a": "1K"}, ["info -- -a", "info ./-a"]),
        ("info/operand_before_option", LAYOUT, ["info a --output=json"]),
        ("info/qcow2_as_raw", {"a": "qcow2 1M"}, ["info -f raw a"]),
    ]
    + [
        (f"info/name_{number}", {name: "1K"}, [["info", name], ["info", "--output=json", name]])
        for number, name in enumerate(
            ["a b", "a\nb", "a\tb", 'a"b', "a\\b", "a'b", "ä✓😀", "a,b", "./x:y", "a\x7fb", "a\x01b", "a%sb", "</x>", b"\xffx", b"a\xc3"]
        )
        if "/" not in os_text(name)
    ]
)
