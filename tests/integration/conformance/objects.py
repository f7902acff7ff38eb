"""--object."""

FILES = {"r": "1M", "a": "qcow2 1M", "secret": "4K 0+4K"}
DEFINITIONS = [
    "secret", "secret,id=a", "secret,id=1a,file=secret", "secret,file=secret", "secret,id=a,file=secret", "secret,id=a.b,file=secret",
    "secret,id=a,file=secret,format=raw", "secret,id=a,file=secret,format=foo", "secret,id=a,file=none", "secret,id=a,file=",
    "secret,id=a,data=x,file=secret", "secret,id=a,file=secret,keyid=b", "secret,id=a,file=secret,iv=AAAA", "secret,id=a,file=secret,foo=bar",
    "secret,id=a,data=!,format=base64", "foo,id=a", "", ",", "id=a", "qom-type=secret,id=a,file=secret", "iothread,id=x",
    "memory-backend-ram,id=m,size=1M", "rng-random,id=r", "secret,id,file=secret", "secret,,id=a", "secret,id=a,loaded=on,file=secret",
    '{"qom-type":"secret","id":"a","file":"secret"}', '{"qom-type":"secret","id":"a"}', '{"qom-type":"secret"}', "{", '{"id":"a"}', "{}",
    '{"qom-type":"secret","id":"a","file":5}', '{"qom-type":"secret","id":"a","file":"secret","foo":1}',
]

CASES = (
    [(f"objects/definition_{number}", FILES, [["info", "--object", text, "r"]]) for number, text in enumerate(DEFINITIONS)]
    + [
        (f"objects/{verb}", FILES, [f"{verb} --object secret,id=x,file=secret {rest}", f"{verb} --object secret,id=x {rest}"])
        for verb, rest in (
            ("amend", "-o lazy_refcounts=on a"),
            ("bench", "r"),
            ("bitmap", "--add a bm"),
            ("check", "a"),
            ("compare", "r r"),
            ("convert", "r new"),
            ("create", "new 1M"),
            ("info", "r"),
            ("map", "r"),
            ("measure", "r"),
            ("measure", "--size 1M"),
            ("resize", "-f raw r 2M"),
            ("snapshot", "-l a"),
        )
        if rest != "--size 1M"
    ]
    + [
        ("objects/measure_size", FILES, ["measure --object secret,id=x,file=secret --size 1M"]),
        ("objects/twice", FILES, ["info --object secret,id=x,file=secret --object secret,id=x,file=secret r"]),
        ("objects/two", FILES, ["info --object secret,id=x,file=secret --object secret,id=y,file=secret r"]),
        ("objects/key_size", FILES, ["info --object secret,id=x,file=secret --object secret,id=y,file=secret,keyid=x r"]),
        ("objects/data", FILES, ["info --object secret,id=x,data=abc r"]),
        ("objects/missing", FILES, ["info r --object"]),
    ]
)
